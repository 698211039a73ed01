package cache_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/session"
)

// cuts is how many power cuts a test makes of each kind of disk.
var cuts = flag.Int("cuts", 20, "power cuts per test and model of the disk")

// lives is how many cuts one ledger or list lives through.
const lives = 10

// withPower runs a role on a disk, in a process of its own: SQLite maps the log's
// index, and a process that serves the file system of its own mappings can wait
// for itself for ever. It returns the first line that the role printed, but for
// those that ask for another disk: see breakDisk.
func withPower(t *testing.T, d *cachetest.Disk, role string, args ...any) string {
	t.Helper()
	dir := t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := d.Unmount(); err != nil {
			t.Fatal(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPowerChild$")
	// The race detector holds up every exit for a second unless told not to.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", roleEnv+"="+role, "CACHE_DIR="+dir, "CACHE_ARGS="+fmt.Sprint(args...))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if what, ok := strings.CutPrefix(lines.Text(), "disk "); ok {
			d.Break(diskFaults[what])
			fmt.Fprintln(in)
			continue
		}
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil || len(said) == 0 {
		t.Fatalf("%s: %v: %q", role, err, said)
	}
	return said[0]
}

const roleEnv = "CACHE_ROLE"

// TestPowerChild plays one role of the power cut tests.
func TestPowerChild(t *testing.T) {
	dir := os.Getenv("CACHE_DIR")
	args := os.Getenv("CACHE_ARGS")
	promised, _ := strconv.Atoi(args)
	switch os.Getenv(roleEnv) {
	case "":
		t.Skip("child of the power cut tests")
	case "ledger":
		fmt.Println(commitUntilDark(dir))
	case "list":
		fmt.Println(loadUntilDark(dir))
	case "check ledger":
		fmt.Println(ledgerHolds(dir, promised))
	case "check list":
		fmt.Println(listHolds(dir, promised))
	case "damage":
		fmt.Println(oneLine(damagedLedger(filepath.Join(dir, "ledger.db"))))
	case "replace":
		fmt.Println(oneLine(replaceUntilDark(dir)))
	case "check replaced":
		fmt.Println(oneLine(replacedHolds(dir)))
	case "broken":
		fmt.Println(oneLine(workOnBrokenDisk(dir, args)))
	case "check broken":
		fmt.Println(oneLine(sessionsHold(dir)))
	}
}

// powerCuts lets a role work on disks of a model until the power goes, and then
// checks what survived.
func powerCuts(t *testing.T, m cachetest.Model, role string) error {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, m.Seed))
	for first := 0; first < *cuts; first += lives {
		m.Seed++
		d := cachetest.New(m)
		promised := -1
		for n := first; n < min(first+lives, *cuts); n++ {
			d.CutAfter(1 + rnd.IntN(120))
			reached, err := strconv.Atoi(withPower(t, d, role, promised))
			if err != nil {
				t.Fatal(err)
			}
			promised = max(promised, reached)
			d.Survive()
			if wrong := withPower(t, d, "check "+role, promised); wrong != "<nil>" {
				return fmt.Errorf("disk %+v, cut %d: %s", m, n, wrong)
			}
		}
	}
	return nil
}

// honest are the disks that keep what they promise: nothing else, or part of it.
var honest = map[string]cachetest.Model{
	"nothing unsynced survives": {},
	"half of it survives":       {Keep: 0.5},
}

// T1: on a disk that drops what was not synced, every commit that was promised
// is there after a power cut, states and records agree, the chain is whole, and
// no file is ever unusable.
func TestT1_LedgerSurvivesPowerCuts(t *testing.T) {
	for name, m := range honest {
		t.Run(name, func(t *testing.T) {
			if err := powerCuts(t, m, "ledger"); err != nil {
				t.Error(err)
			}
		})
	}
}

// T1, control: a disk that ignores fsync must be found out.
func TestT1_LyingDiskIsFoundOut(t *testing.T) {
	m := cachetest.Model{Keep: 0.5, Lies: true}
	if err := powerCuts(t, m, "ledger"); err == nil {
		t.Errorf("got nothing lost in %d cuts of a disk that lies, want a loss: this test cannot see one", *cuts)
	}
}

// commitUntilDark makes commits of two records and a state that say the same,
// marks some taken, and returns the last commit that was promised.
func commitUntilDark(dir string) int {
	ctx := context.Background()
	l, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), opts)
	if err != nil {
		return -1
	}
	defer l.Close()
	states, err := l.States(ctx)
	if err != nil {
		return -1
	}
	at, err := strconv.Atoi(string(states["washer"]))
	if err != nil {
		at = -1
	}
	for {
		next := at + 1
		err := l.Commit(ctx, session.Commit{
			States:  map[string][]byte{"washer": []byte(strconv.Itoa(next))},
			Records: []session.Record{event(next, session.Updated), event(next, session.Updated)},
		})
		if err != nil {
			return at
		}
		at = next
		if s, err := l.Stats(ctx); err == nil && at%5 == 0 {
			l.Taken(ctx, s.Ledger, s.End)
		}
	}
}

// ledgerHolds is checkLedger as an error.
func ledgerHolds(dir string, promised int) error {
	ctx := context.Background()
	l, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), opts)
	if err != nil {
		return err
	}
	defer l.Close()
	if l.Recovered() != "" {
		return errors.New(l.Recovered())
	}
	states, err := l.States(ctx)
	if err != nil {
		return err
	}
	state := -1
	if s := states["washer"]; s != nil {
		if state, err = strconv.Atoi(string(s)); err != nil {
			return err
		}
	}
	records, err := allRecords(ctx, l)
	if err != nil {
		return err
	}
	if state < promised || state > promised+1 || len(records) != 1+2*(state+1) {
		return fmt.Errorf("got state %d and %d records, want state %d or one more, and two records each", state, len(records), promised)
	}
	return chained(records)
}

// allRecords reads a ledger from its first record on.
func allRecords(ctx context.Context, l *cache.Ledger) ([]session.Message, error) {
	s, err := l.Stats(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(l.Taken(ctx, s.Ledger, s.End), l.Rewind(ctx, 1, 0)); err != nil {
		return nil, err
	}
	return l.Unsent(ctx, 1<<20)
}

// T1 for the list: what is in force is the old version or the new one, whole,
// never older than what was promised, and a loader goes on from there.
func TestT1_ListSurvivesPowerCuts(t *testing.T) {
	for name, m := range honest {
		t.Run(name, func(t *testing.T) {
			if err := powerCuts(t, m, "list"); err != nil {
				t.Error(err)
			}
		})
	}
}

// loadUntilDark replaces the list again and again.
func loadUntilDark(dir string) int {
	ctx := context.Background()
	l, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		return -1
	}
	defer l.Close()
	v, err := l.InForce(ctx)
	if err != nil {
		return -1
	}
	for {
		to := version(v.Version+1, 6)
		if replace(ctx, l, v, to) != nil {
			return int(v.Version)
		}
		v = to
	}
}

func listHolds(dir string, promised int) error {
	ctx := context.Background()
	l, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		return err
	}
	defer l.Close()
	if l.Recovered() != "" {
		return errors.New(l.Recovered())
	}
	v, err := l.InForce(ctx)
	if err != nil || int(v.Version) < promised {
		return fmt.Errorf("got version %d, want %d or later (%v)", v.Version, promised, err)
	}
	for i := range 6 {
		got, err := l.Lookup(ctx, badge(i))
		if err != nil {
			return err
		}
		if v.Version > 0 && (got.Entry.Account != fmt.Sprint(v.Version) || got.List != v) {
			return fmt.Errorf("got %+v, want an entry of version %d", got, v.Version)
		}
	}
	return l.Check(ctx)
}
