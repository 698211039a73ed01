package cache_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/session"
)

// written is how many bytes this process has sent to storage (proc(5),
// /proc/pid/io, write_bytes).
func written(b *testing.B) int64 {
	io, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	var n int64
	for line := range strings.Lines(string(io)) {
		fmt.Sscanf(line, "write_bytes: %d", &n)
	}
	return n
}

// measure reports time and written bytes of each turn.
func measure(b *testing.B, f func(i int)) {
	var took []time.Duration
	before := written(b)
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(written(b)-before)/float64(b.N), "written-B/op")
	percentiles(b, took)
}

// state differs each time: SQLite does not write what is the same.
func state(i int) map[string][]byte {
	return map[string][]byte{"washer": fmt.Appendf(nil, "%0400d", i)}
}

func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name   string
		commit func(i int) session.Commit
	}{
		{"record alone", func(i int) session.Commit { return session.Commit{Records: start(i).Records} }},
		{"record and state", func(i int) session.Commit { return session.Commit{Records: start(i).Records, States: state(i)} }},
		{"record, state and decision", func(i int) session.Commit {
			c := session.Commit{Records: start(i).Records, States: state(i)}
			c.Telemetry = []session.Telemetry{{Type: "Decision", At: stamp(0), Body: "04A1…C3"}}
			return c
		}},
		{"checkpoint", func(i int) session.Commit {
			return session.Commit{States: state(i)}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := newLedger(b)
			measure(b, func(i int) {
				if err := l.Commit(b.Context(), c.commit(i)); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	b.Run("bare insert of 600 bytes", func(b *testing.B) {
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE TABLE record (no INTEGER PRIMARY KEY, body TEXT)"); err != nil {
			b.Fatal(err)
		}
		body := strings.Repeat("x", 600)
		measure(b, func(int) {
			if _, err := db.Exec("INSERT INTO record (body) VALUES (?)", body); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func BenchmarkDrain(b *testing.B) {
	l := newLedger(b)
	for range 100 {
		c := session.Commit{}
		for i := range 100 {
			c.Records = append(c.Records, event(i, session.Updated))
		}
		if err := l.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	id := stats(b, l).Ledger
	for b.Loop() {
		batch := unsent(b, l, 20)
		if len(batch) == 0 {
			if err := l.Rewind(b.Context(), 1, 0); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := l.Taken(b.Context(), id, batch[len(batch)-1].Seq); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
