package cache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/session"
)

const (
	pageSize   = 2048 // of a ledger
	recordRoot = 3    // page of the table of records, from 0
)

// filled makes a closed ledger of n records, of which the backend has the first
// ten, with a state and a head.
func filled(path string, n int) error {
	l, err := cache.OpenLedger(path, opts)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range n {
		err = errors.Join(err, l.Commit(ctx, session.Commit{
			States:  map[string][]byte{"washer": []byte(fmt.Sprint(i))},
			Records: []session.Record{event(i, session.Updated)},
		}))
	}
	all, unsentErr := l.Unsent(ctx, 10)
	if err = errors.Join(err, unsentErr); err != nil {
		return err
	}
	return errors.Join(l.Acknowledge(ctx, all[9].Ledger, 10, all[9].Hash), l.RaiseHead(ctx, version(7, 0)), l.Close())
}

// energies are the records of a ledger by what tells them apart, after a look at
// its chain.
func energies(l *cache.Ledger) (all []int64, err error) {
	records, err := allRecords(context.Background(), l)
	if err != nil {
		return nil, err
	}
	for _, m := range records {
		var r struct {
			Type   string
			Energy int64
		}
		if err := json.Unmarshal(m.Record, &r); err != nil {
			return nil, err
		}
		if r.Type == "TransactionEvent" {
			all = append(all, r.Energy)
		}
	}
	return all, chained(records)
}

// T9: whichever page of a ledger is damaged, it opens, goes on with a whole chain,
// and keeps what the page did not hold.
func TestT9_AnyPageDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	if err := filled(path, 60); err != nil {
		t.Fatal(err)
	}
	whole := read(t, path)
	rnd := rand.New(rand.NewPCG(1, 9))
	rubbish := make([]byte, pageSize)
	for i := range rubbish {
		rubbish[i] = byte(rnd.Uint32())
	}
	for name, fill := range map[string][]byte{"zeros": make([]byte, pageSize), "rubbish": rubbish, "another page": whole[2*pageSize : 3*pageSize]} {
		for page := 0; page < len(whole)/pageSize; page++ {
			at := filepath.Join(t.TempDir(), "ledger.db")
			b := bytes.Clone(whole)
			copy(b[page*pageSize:], fill)
			if bytes.Equal(b, whole) {
				continue
			}
			write(t, at, b)
			l, err := cache.OpenLedger(at, opts)
			if err != nil {
				t.Errorf("page %d as %s: got %v, want it to open", page, name, err)
				continue
			}
			commit(t, l, 1)
			got, err := energies(l)
			if err != nil || l.Recovered() != "" && len(got) < 46 {
				t.Errorf("page %d as %s: got %d records, %v; want a chain, most of 51 records; %s", page, name, len(got), err, l.Recovered())
			}
			if err := l.Check(t.Context()); err != nil {
				t.Errorf("page %d as %s: got %v, want a sound file", page, name, err)
			}
			l.Close()
		}
	}
}

// damage spoils a page in the middle of the records that are still to be sent.
func damage(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := bytes.Index(b, []byte(`"energy":30,`))
	if at < 0 {
		return errors.New("no record 30 in the file")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{0xA5}, pageSize), int64(at/pageSize*pageSize))
	return errors.Join(err, f.Sync())
}

// damagedLedger is synced with its folder: else a cut brings a log back from which
// SQLite mends the page.
func damagedLedger(path string) error {
	if err := errors.Join(filled(path, 60), damage(path)); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// keptAfterDamage says what is missing of what damage leaves of filled: the states,
// the head, and all records but those of one page, which holds up to five.
func keptAfterDamage(l *cache.Ledger) error {
	got, err := energies(l)
	if err != nil {
		return err
	}
	states, err := l.States(context.Background())
	if err != nil {
		return err
	}
	head, err := l.HighestHead(context.Background(), "via-roma-12")
	if err != nil {
		return err
	}
	if len(got) < 46 || got[0] != 9 || got[len(got)-1] != 59 || string(states["washer"]) != "59" || !sameHead(head, version(7, 0)) {
		return fmt.Errorf("got records %d, state %s, head %+v; want 9 to 59 but for one page, 59 and version 7", got, states["washer"], head)
	}
	return nil
}

// T9 while running: damage that Check finds is put right there and then.
func TestT9_DamageIsPutRightWhileRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := filled(path, 60); err != nil {
		t.Fatal(err)
	}
	l := openLedger(t, path, opts)
	before := stats(t, l).Ledger
	if err := l.Check(t.Context()); err != nil || l.Recovered() != "" {
		t.Fatalf("got %v, %q, want a file that is well", err, l.Recovered())
	}
	if err := damage(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err != nil || !strings.Contains(l.Recovered(), "kept as "+path+".damaged-1") {
		t.Fatalf("got %v, %q, want the file put aside", err, l.Recovered())
	}
	if err := keptAfterDamage(l); err != nil {
		t.Error(err)
	}
	if s := stats(t, l); s.Ledger == before {
		t.Error("got the same ledger, want another id")
	}
	commit(t, l, 3)
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if len(asides(t, path)) != 1 {
		t.Errorf("got %v, want one file put aside", asides(t, path))
	}
}

// T9 while running: whoever meets the damage first, a commit or the outbox, goes on
// with the ledger that takes its place.
func TestT9_DamageIsMetWhileRunning(t *testing.T) {
	for name, meet := range map[string]func(l *cache.Ledger) error{
		"by a commit": func(l *cache.Ledger) error {
			return l.Commit(context.Background(), session.Commit{
				States:  map[string][]byte{"dryer": []byte("on")},
				Records: []session.Record{event(60, session.Started)},
			})
		},
		"by the outbox": func(l *cache.Ledger) error {
			_, err := l.Unsent(context.Background(), 20)
			return errors.Join(err, l.Commit(context.Background(), session.Commit{
				States: map[string][]byte{"dryer": []byte("on")}, Records: []session.Record{event(60, session.Started)}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if err := filled(path, 60); err != nil {
				t.Fatal(err)
			}
			l := openLedger(t, path, opts)
			// All but the first page, which the connection has in memory.
			b := read(t, path)
			for i := pageSize; i < len(b); i++ {
				b[i] = 0xA5
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			l.Forget()
			if err := meet(l); err != nil {
				t.Fatalf("got %v, want it done", err)
			}
			states, err := l.States(t.Context())
			if err != nil || string(states["washer"]) != "59" || string(states["dryer"]) != "on" {
				t.Errorf("got states %s (%v), want those in memory and the new one", states, err)
			}
			got, err := energies(l)
			if err != nil || len(got) == 0 || got[len(got)-1] != 60 || l.Recovered() == "" {
				t.Errorf("got records %v, %q (%v), want the new one and a word", got, l.Recovered(), err)
			}
		})
	}
}

// T9 under power cuts: wherever the power goes while a damaged ledger is replaced,
// the next start finds the old file or the new one, and nothing is lost that could
// be read.
func TestT9_PowerCutsWhileReplacing(t *testing.T) {
	for name, m := range honest {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(9, 1))
			for n := range *cuts {
				m.Seed++
				d := cachetest.New(m)
				if wrong := withPower(t, d, "damage"); wrong != "<nil>" {
					t.Fatal(wrong)
				}
				d.CutAfter(1 + (7*n+rnd.IntN(7))%130) // replacing takes some 120 changes
				withPower(t, d, "replace")
				d.Survive()
				if wrong := withPower(t, d, "check replaced"); wrong != "<nil>" {
					t.Fatalf("cut %d: %s", n, wrong)
				}
			}
		})
	}
}

// replaceUntilDark opens a damaged ledger on a disk that is about to be cut.
func replaceUntilDark(dir string) error {
	l, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), opts)
	if err != nil {
		return err
	}
	return l.Close()
}

func replacedHolds(dir string) error {
	path := filepath.Join(dir, "ledger.db")
	l, err := cache.OpenLedger(path, opts)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := keptAfterDamage(l); err != nil {
		return err
	}
	if left, _ := filepath.Glob(path + ".new*"); len(left) > 0 {
		return fmt.Errorf("got %q left over", left)
	}
	_, err = os.Stat(path + ".damaged-1")
	return err
}

// TestReplaceChild is the victim: it finds the damage while it runs.
func TestReplaceChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("victim of TestT9_KilledWhileReplacing")
	}
	path := filepath.Join(os.Getenv("CACHE_DIR"), "ledger.db")
	if err := filled(path, 60); err != nil {
		t.Fatal(err)
	}
	l := openLedger(t, path, opts)
	l.FailAt(crashAt())
	if err := errors.Join(damage(path), l.Check(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestT9_KilledWhileReplacing(t *testing.T) {
	for _, point := range []string{"made", "aside", "settled"} {
		dir := t.TempDir()
		runChild(t, "TestReplaceChild", dir, point+":1")
		if err := replacedHolds(dir); err != nil {
			t.Errorf("killed at %s: %v", point, err)
		}
	}
}
