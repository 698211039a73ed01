package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// ack is the backend's word that it has all that the ledger has.
func ack(t *testing.T, l *cache.Ledger) (ledger string, upTo uint64, hash string) {
	t.Helper()
	s := stats(t, l)
	if err := l.Acknowledge(t.Context(), s.Ledger, s.End, s.EndHash); err != nil {
		t.Fatal(err)
	}
	return s.Ledger, s.End, s.EndHash
}

// A card is copied; the original goes on and the backend has what it did. Then the
// copy is put in: what it makes under numbers that are taken must reach the backend
// under numbers of its own, whether it has made fewer records than the backend
// knows of, or more.
func TestCardThatWasRestored(t *testing.T) {
	for name, made := range map[string]int{"fewer records than the original": 3, "more records than the original": 30} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			l := openLedger(t, path, opts)
			commit(t, l, 10)
			ack(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			copied := read(t, path)
			l = openLedger(t, path, opts)
			commit(t, l, 20)
			ledger, upTo, hash := ack(t, l)
			l.Close()

			write(t, path, copied)
			os.Remove(path + "-wal")
			o := opts
			up := time.Hour
			o.Stamp = func() session.Stamp {
				return session.Stamp{BootID: "boot-2", Up: up, Wall: issued.Add(48 * time.Hour), Clock: session.ClockSynced}
			}
			l = openLedger(t, path, o)
			for i := range made {
				if err := l.Commit(t.Context(), session.Commit{
					States: map[string][]byte{"washer": []byte("after")}, Records: []session.Record{event(1000+i, session.Updated)},
				}); err != nil {
					t.Fatal(err)
				}
			}
			before := stats(t, l)
			// They have gone out, and the backend has called them a fork: its word stays.
			if err := l.Taken(t.Context(), ledger, before.End); err != nil {
				t.Fatal(err)
			}
			err := l.Acknowledge(t.Context(), ledger, upTo, hash)
			if !errors.Is(err, session.ErrBeyondEnd) && !errors.Is(err, session.ErrOtherHash) {
				t.Fatalf("got %v, want a refusal", err)
			}
			now := stats(t, l)
			fresh := unsent(t, l, 100)
			verifyChain(t, fresh)
			if now.Ledger == ledger || len(fresh) != 1+made || string(mustStates(t, l)["washer"]) != "after" {
				t.Fatalf("got ledger %s with %d records, want a new one with LedgerOpened and %d", now.Ledger, len(fresh), made)
			}
			// The retained ack of the old ledger comes again: another ledger, nothing happens.
			if err := l.Acknowledge(t.Context(), ledger, upTo, hash); !errors.Is(err, session.ErrOtherLedger) || stats(t, l).Ledger != now.Ledger {
				t.Errorf("got %v, want it refused as another ledger's", err)
			}
			// A clone that lies about the new one as well waits a day, restarts or not.
			for _, c := range []struct {
				up   time.Duration
				anew bool
			}{{2 * time.Hour, false}, {24 * time.Hour, false}, {25*time.Hour + time.Minute, true}} {
				up = c.up
				l.Close()
				l = openLedger(t, path, o)
				err := l.Acknowledge(t.Context(), stats(t, l).Ledger, 99, hash)
				if anew := stats(t, l).Ledger != now.Ledger; !errors.Is(err, session.ErrBeyondEnd) || anew != c.anew {
					t.Errorf("after %v: got a new ledger %t, %v; want %t", c.up, anew, err, c.anew)
				}
			}
			ack(t, l)
			if left := unsent(t, l, 100); len(left) != 0 {
				t.Errorf("got %d records unsent, want none", len(left))
			}
		})
	}
}

func mustStates(t *testing.T, l *cache.Ledger) map[string][]byte {
	t.Helper()
	states, err := l.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return states
}
