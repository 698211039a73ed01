package cache_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// unsentRecords makes n records over n minutes without a broker, with a daily tie
// to the clock.
func unsentRecords(t testing.TB, l *cache.Ledger, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		c := session.Commit{States: map[string][]byte{"washer": []byte("on")}}
		for i := from; i < min(from+1000, n); i++ {
			c.Records = append(c.Records, event(i, session.Updated))
			if i%1440 == 0 {
				c.Records = append(c.Records, session.ClockAnchor{At: stamp(time.Duration(i) * time.Minute), Source: "kernel", Why: "daily"})
			}
		}
		if err := l.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// T5: seventy days offline, 100,000 records unsent. The ledger opens as it does
// with none, takes a new session, and gives all of them in order, once.
func TestT5_HundredThousandUnsentRecords(t *testing.T) {
	const n = 100_000
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	unsentRecords(t, l, n)
	want := stats(t, l).End
	l.Close()
	l = openLedger(t, path, opts)
	if l.Recovered() != "" {
		t.Fatal(l.Recovered())
	}
	if err := l.Commit(t.Context(), start(n)); err != nil {
		t.Fatalf("got %v for a new session, want it to begin", err)
	}
	if _, err := l.Prune(t.Context(), issued.AddDate(2, 0, 0), 400*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	got, prev := uint64(0), strings.Repeat("0", 64)
	for {
		batch := unsent(t, l, 500)
		if len(batch) == 0 {
			break
		}
		if err := followsOn(batch, got, prev); err != nil {
			t.Fatal(err)
		}
		last := batch[len(batch)-1]
		got, prev = last.Seq, last.Hash
		if err := l.Taken(t.Context(), last.Ledger, last.Seq); err != nil {
			t.Fatal(err)
		}
	}
	if got != want+1 {
		t.Errorf("got %d records out, want all %d", got, want+1)
	}
}

// followsOn checks that messages go on where the one before ended.
func followsOn(messages []session.Message, seq uint64, prev string) error {
	for _, m := range messages {
		if err := continues(m, seq, prev); err != nil {
			return err
		}
		seq, prev = m.Seq, m.Hash
	}
	return nil
}
