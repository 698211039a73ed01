package cache_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/session"

	"github.com/gowebpki/jcs"
)

func stamp(up time.Duration) session.Stamp {
	return session.Stamp{BootID: "boot-1", Up: up, Wall: issued.Add(up), Clock: session.ClockSynced}
}

var opts = cache.LedgerOpts{Gateway: "gw-0042", Stamp: func() session.Stamp { return stamp(time.Second) }, Reserve: 64 << 10}

func openLedger(t testing.TB, path string, o cache.LedgerOpts) *cache.Ledger {
	t.Helper()
	l, err := cache.OpenLedger(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func newLedger(t testing.TB) *cache.Ledger {
	return openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), opts)
}

// event is the nth record of a session.
func event(n int, kind session.EventType) session.TransactionEvent {
	return session.TransactionEvent{EventType: kind, TransactionID: "tx-1", SeqNo: n, TriggerReason: session.TriggerAuthorized, Station: "washer",
		Kind: session.Laundry, Account: "Zoë <r-1042>", UID: "04A1B2C3", Energy: int64(n), MeterValue: int64(n), At: stamp(time.Duration(n) * time.Minute)}
}

// commit makes a change of n records, each after the other.
func commit(t testing.TB, l *cache.Ledger, n int) {
	t.Helper()
	for i := range n {
		err := l.Commit(t.Context(), session.Commit{
			States:  map[string][]byte{"washer": []byte(fmt.Sprint(i))},
			Records: []session.Record{event(i, session.Updated)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unsent(t testing.TB, l *cache.Ledger, limit int) []session.Message {
	t.Helper()
	out, err := l.Unsent(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func stats(t testing.TB, l *cache.Ledger) cache.Stats {
	t.Helper()
	s, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verifyChain checks messages from the first record on, as a backend does.
func verifyChain(t testing.TB, messages []session.Message) {
	t.Helper()
	if err := chained(messages); err != nil {
		t.Fatal(err)
	}
}

func chained(messages []session.Message) error {
	return followsOn(messages, 0, strings.Repeat("0", 64))
}

// continues checks that a message is what its hash says, and the one after seq.
func continues(m session.Message, seq uint64, prev string) error {
	canonical, err := jcs.Transform(m.Record)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(canonical)
	var r struct {
		Ledger, Prev, Type string
		Seq                uint64
	}
	if err := json.Unmarshal(m.Record, &r); err != nil {
		return err
	}
	if r.Prev != prev || r.Seq != seq+1 || r.Ledger != m.Ledger || m.Seq != r.Seq || hex.EncodeToString(sum[:]) != m.Hash {
		return fmt.Errorf("got %+v with hash %s after %d, %s, want a chain", r, m.Hash, seq, prev)
	}
	return nil
}

func TestRecordsAreAChain(t *testing.T) {
	l := newLedger(t)
	commit(t, l, 20)
	got := unsent(t, l, 100)
	if len(got) != 21 {
		t.Fatalf("got %d records, want LedgerOpened and 20", len(got))
	}
	verifyChain(t, got)
	if s := stats(t, l); s.End != 21 || s.EndHash != got[20].Hash || s.Ledger != got[0].Ledger {
		t.Errorf("got %+v, want the end of the chain", s)
	}
	var opened struct{ Type, Gateway, Why string }
	if err := json.Unmarshal(got[0].Record, &opened); err != nil || opened.Type != "LedgerOpened" || opened.Gateway != "gw-0042" || opened.Why != "new" {
		t.Errorf("got %+v, want LedgerOpened of gw-0042 (%v)", opened, err)
	}
}

func TestLedgerGoesOnAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	commit(t, l, 3)
	id := stats(t, l).Ledger
	l.Close()
	l = openLedger(t, path, opts)
	commit(t, l, 2)
	got := unsent(t, l, 100)
	verifyChain(t, got)
	if len(got) != 6 || got[5].Ledger != id || l.Recovered() != "" {
		t.Errorf("got %d records of %s, want 6 of %s", len(got), got[5].Ledger, id)
	}
	states, err := l.States(t.Context())
	if err != nil || string(states["washer"]) != "1" {
		t.Errorf("got states %q, want washer 1 (%v)", states, err)
	}
}

type oddRecord map[string]any

func (oddRecord) RecordType() string { return "Odd" }

func TestOddRecordsAreRefusedWhole(t *testing.T) {
	for name, r := range map[string]oddRecord{
		"fraction":              {"a": 1.5},
		"exponent":              {"a": json.Number("1e3")},
		"beyond 2^53":           {"a": uint64(1) << 53},
		"null":                  {"a": nil},
		"null inside":           {"a": []any{map[string]any{"b": nil}}},
		"a field of the ledger": {"seq": 7},
		"not JSON":              {"a": func() {}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			err := l.Commit(t.Context(), session.Commit{
				States:    map[string][]byte{"washer": []byte("x")},
				Records:   []session.Record{event(0, session.Updated), r},
				Telemetry: []session.Telemetry{{Type: "Fault"}},
			})
			if err == nil {
				t.Fatal("got no error, want one")
			}
			states, _ := l.States(t.Context())
			if s := stats(t, l); s.End != 1 || s.Telemetry != 0 || len(states) != 0 {
				t.Errorf("got %+v and states %v, want nothing of the commit", s, states)
			}
		})
	}
}

func TestMarks(t *testing.T) {
	ctx := context.Background()
	var all []session.Message
	ack := func(l *cache.Ledger, seq uint64) error {
		return l.Acknowledge(ctx, all[seq-1].Ledger, seq, all[seq-1].Hash)
	}
	taken := func(l *cache.Ledger, seq uint64) error { return l.Taken(ctx, stats(t, l).Ledger, seq) }
	for _, c := range []struct {
		name             string
		broker           bool
		do               func(l *cache.Ledger) error
		taken, committed uint64
		next             string // what Unsent returns: seqs
	}{
		{"nothing yet", false, func(l *cache.Ledger) error { return nil }, 0, 0, "[1 2 3 4 5 6]"},
		{"taken", false, func(l *cache.Ledger) error { return taken(l, 4) }, 4, 0, "[5 6]"},
		{"taken by a broker whose word counts", true, func(l *cache.Ledger) error { return taken(l, 4) }, 4, 4, "[5 6]"},
		{"taken in two steps", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 4), taken(l, 6)) }, 6, 0, "[]"},
		{"acknowledged", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 6), ack(l, 4)) }, 6, 4, "[]"},
		{"acknowledged beyond taken", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 3), ack(l, 5)) }, 5, 5, "[6]"},
		{"acknowledged twice", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 6), ack(l, 4), ack(l, 4)) }, 6, 4, "[]"},
		{"acknowledgement goes back", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 6), ack(l, 5), ack(l, 3)) }, 6, 3, "[4 5 6]"},
		{"acknowledgement goes back to nothing", false, func(l *cache.Ledger) error {
			return errors.Join(taken(l, 6), ack(l, 5), l.Acknowledge(ctx, stats(t, l).Ledger, 0, ""))
		}, 6, 0, "[1 2 3 4 5 6]"},
		{"sent again", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 6), ack(l, 2), l.Rewind(ctx, 0, 0)) }, 6, 2, "[3 4 5 6]"},
		{"some sent again", false, func(l *cache.Ledger) error { return errors.Join(taken(l, 6), ack(l, 6), l.Rewind(ctx, 2, 4)) }, 6, 6, "[2 3 4]"},
		{"some sent again and taken", false, func(l *cache.Ledger) error {
			return errors.Join(taken(l, 6), ack(l, 6), l.Rewind(ctx, 2, 4), taken(l, 3))
		}, 6, 6, "[4]"},
		{"sent again until acknowledged", false, func(l *cache.Ledger) error {
			return errors.Join(taken(l, 6), l.Rewind(ctx, 0, 0), ack(l, 4))
		}, 6, 4, "[5 6]"},
		{"new records go before those sent again", false, func(l *cache.Ledger) error {
			return errors.Join(taken(l, 5), l.Rewind(ctx, 0, 0))
		}, 5, 0, "[6]"},
		{"sent again beyond the end", false, func(l *cache.Ledger) error {
			return errors.Join(taken(l, 6), l.Rewind(ctx, 1<<63, 1<<63+9))
		}, 6, 0, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := opts
			o.BrokerAck = c.broker
			l := openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), o)
			commit(t, l, 5)
			all = unsent(t, l, 100)
			if err := c.do(l); err != nil {
				t.Fatal(err)
			}
			var seqs []uint64
			for _, m := range unsent(t, l, 100) {
				seqs = append(seqs, m.Seq)
			}
			if s := stats(t, l); s.Taken != c.taken || s.Committed != c.committed || fmt.Sprint(seqs) != c.next {
				t.Errorf("got taken %d committed %d next %v, want %d %d %s", s.Taken, s.Committed, seqs, c.taken, c.committed, c.next)
			}
		})
	}
}

func TestFalseAcknowledgements(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		ledger string
		upTo   uint64
		hash   string
		want   error
		anew   bool
	}{
		{"of another ledger", "another", 2, zeros, session.ErrOtherLedger, false},
		{"beyond the end", "", 7, zeros, session.ErrBeyondEnd, true},
		{"far beyond the end", "", 1<<64 - 1, zeros, session.ErrBeyondEnd, true},
		{"with another hash", "", 3, zeros, session.ErrOtherHash, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(t)
			commit(t, l, 5)
			was := stats(t, l)
			if c.ledger == "" {
				c.ledger = was.Ledger
			}
			if err := l.Taken(t.Context(), was.Ledger, 4); err != nil {
				t.Fatal(err)
			}
			err := l.Acknowledge(t.Context(), c.ledger, c.upTo, c.hash)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			now := stats(t, l)
			if anew := now.Ledger != was.Ledger; anew != c.anew {
				t.Fatalf("got a new ledger %v, want %v", anew, c.anew)
			}
			if !c.anew {
				return
			}
			got := unsent(t, l, 100)
			verifyChain(t, got)
			if len(got) != 6 || !strings.Contains(string(got[0].Record), `"before":"`+was.Ledger+`"`) {
				t.Fatalf("got %d records, first %s; want LedgerOpened after %s and 5 carried over", len(got), got[0].Record, was.Ledger)
			}
			var r struct {
				Carried struct {
					Ledger, Hash string
					Seq          uint64
				}
			}
			if err := json.Unmarshal(got[5].Record, &r); err != nil || r.Carried.Ledger != was.Ledger || r.Carried.Seq != 6 || r.Carried.Hash != was.EndHash {
				t.Errorf("got %+v, want record 6 of %s (%v)", r, was.Ledger, err)
			}
			// At most one new ledger a day.
			if err := l.Acknowledge(t.Context(), now.Ledger, 99, zeros); !errors.Is(err, session.ErrBeyondEnd) {
				t.Errorf("got %v, want ErrBeyondEnd", err)
			}
			if again := stats(t, l).Ledger; again != now.Ledger {
				t.Errorf("got another ledger %s, want %s to stay for a day", again, now.Ledger)
			}
		})
	}
}

func TestTelemetryIsARing(t *testing.T) {
	o := opts
	o.Telemetry = 5
	l := openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), o)
	for i := range 8 {
		if err := l.Commit(t.Context(), session.Commit{Telemetry: []session.Telemetry{{Type: "Fault", At: stamp(0), Body: i}}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.NextTelemetry(t.Context(), 2)
	if err != nil || len(got) != 2 || !strings.Contains(string(got[0].Record), `"body":3`) {
		t.Fatalf("got %d entries, first %v; want the fourth and fifth (%v)", len(got), got, err)
	}
	if err := l.DropTelemetry(t.Context(), got[1].Seq); err != nil {
		t.Fatal(err)
	}
	if s := stats(t, l); s.Telemetry != 3 || s.Dropped != 3 || s.End != 1 {
		t.Errorf("got %+v, want 3 left, 3 dropped and no record", s)
	}
}

func TestRatchets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	for _, v := range []session.ListVersion{version(7, 3), version(5, 0), {List: "via-roma-12", Epoch: 0, Version: 99}} {
		if err := l.RaiseHead(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.SetFloor(t.Context(), issued.Add(time.Hour)), l.SetFloor(t.Context(), issued)); err != nil {
		t.Fatal(err)
	}
	if first, err := l.Spend(t.Context(), "c-1"); !first || err != nil {
		t.Errorf("got %v %v, want the first", first, err)
	}
	if none, err := l.KeySet(t.Context(), "via-roma-12"); none != nil || err != nil {
		t.Errorf("got key set %q %v, want none", none, err)
	}
	if err := errors.Join(l.SaveKeySet(t.Context(), "via-roma-12", []byte("1")), l.SaveKeySet(t.Context(), "via-roma-12", []byte("2"))); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = openLedger(t, path, opts)
	wantHead(t, l, version(7, 3))
	if floor, err := l.Floor(t.Context()); !floor.Equal(issued) || err != nil {
		t.Errorf("got %v %v, want %v", floor, err, issued)
	}
	if first, err := l.Spend(t.Context(), "c-1"); first || err != nil {
		t.Errorf("got %v %v, want spent", first, err)
	}
	if last, err := l.KeySet(t.Context(), "via-roma-12"); string(last) != "2" || err != nil {
		t.Errorf("got key set %q %v, want the last", last, err)
	}
}

func TestPruneKeepsWhatIsNotCommitted(t *testing.T) {
	l := newLedger(t)
	commit(t, l, 9)
	all := unsent(t, l, 100)
	if err := errors.Join(l.Taken(t.Context(), all[0].Ledger, 10), l.Acknowledge(t.Context(), all[0].Ledger, 6, all[5].Hash)); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{issued, issued.Add(3 * time.Minute), issued.Add(time.Hour), issued.Add(time.Hour)} {
		if _, err := l.Prune(t.Context(), now, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Rewind(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if got := unsent(t, l, 100); len(got) != 4 || got[0].Seq != 7 {
		t.Errorf("got %d records from %d, want 4 from 7", len(got), got[0].Seq)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	openLedger(t, path, opts)
	_, err := cache.OpenLedger(path, opts)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("got %v, want who has it", err)
	}
}
