package cache_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// percentiles reports what the benchmark's turns took.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		l := newList(b)
		load(b, l, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				uid := badge(i * 7919 % n)
				start := time.Now()
				got, err := l.Lookup(b.Context(), uid)
				took = append(took, time.Since(start))
				if err != nil || !got.Found {
					b.Fatal(got, err)
				}
			}
			percentiles(b, took)
		})
		l.Close()
		b.Run(fmt.Sprint(n, ", bare statement"), func(b *testing.B) { bareLookup(b, n) })
	}
}

// bareLookup is what a prepared statement on a table of UIDs costs here.
func bareLookup(b *testing.B, n int) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE entry (uid BLOB PRIMARY KEY, account TEXT) WITHOUT ROWID; BEGIN"); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		uid, _ := hex.DecodeString(string(badge(i)))
		if _, err := db.Exec("INSERT INTO entry VALUES (?, ?)", uid, fmt.Sprint("r-", i)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := db.Exec("COMMIT"); err != nil {
		b.Fatal(err)
	}
	stmt, err := db.Prepare("SELECT account FROM entry WHERE uid = ?")
	if err != nil {
		b.Fatal(err)
	}
	defer stmt.Close()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		uid, _ := hex.DecodeString(string(badge(i * 7919 % n)))
		var account string
		start := time.Now()
		err := stmt.QueryRow(uid).Scan(&account)
		took = append(took, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
	}
	percentiles(b, took)
}

// memory is a line of proc(5), /proc/self/status, in MiB.
func memory(b *testing.B, line string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	var kib float64
	for l := range strings.Lines(string(status)) {
		fmt.Sscanf(l, line+": %f", &kib)
	}
	return kib / 1024
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n, " unsorted"), func(b *testing.B) {
			for b.Loop() {
				load(b, newList(b), n)
			}
			b.ReportMetric(memory(b, "VmHWM"), "peak-MiB")
		})
		b.Run(fmt.Sprint(n, " sorted by UID"), func(b *testing.B) {
			before := written(b)
			for b.Loop() {
				loadSorted(b, newList(b), n)
			}
			b.ReportMetric(float64(written(b)-before)/float64(b.N)/(1<<20), "written-MiB/op")
			b.ReportMetric(memory(b, "VmHWM"), "peak-MiB")
		})
	}
}

// loadSorted brings n entries into force whose chunks are in the order of their
// UIDs, as a publisher should make them.
func loadSorted(b *testing.B, l *cache.List, n int) {
	to, chunks := version(1, n), 0
	for from := 0; from < n; from += 2000 {
		es := entries(from, min(n, from+2000))
		for i := range es {
			es[i].UID = session.IDToken(fmt.Sprintf("04%012X", from+i))
		}
		if err := l.Stage(b.Context(), to, chunks, es); err != nil {
			b.Fatal(err)
		}
		chunks++
	}
	if err := l.Activate(b.Context(), to, chunks); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDelta blocks n badges among 100,000, or takes them as they were again.
func BenchmarkDelta(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := newList(b)
			v := load(b, l, 100_000)
			forms := [][]session.Entry{blocked(n), entries(0, n)}
			measure(b, func(i int) {
				to := version(v.Version+1, v.Count)
				if err := l.ApplyDeltas(b.Context(), v, to, []session.Delta{{Put: forms[i%2]}}); err != nil {
					b.Fatal(err)
				}
				v = to
			})
		})
	}
}

func blocked(n int) []session.Entry {
	es := entries(0, n)
	for i := range es {
		es[i].Status = session.Blocked
	}
	return es
}

// BenchmarkAtRest opens a list of a million badges and uses it a little.
func BenchmarkAtRest(b *testing.B) {
	path := filepath.Join(b.TempDir(), "list.db")
	l := openList(b, path)
	load(b, l, 1_000_000)
	l.Close()
	debug.FreeOSMemory()
	start := time.Now()
	l = openList(b, path)
	lookup(b, l, badge(1))
	first := time.Since(start)
	for i := 0; b.Loop(); i++ {
		lookup(b, l, badge(i*7919%1_000_000))
	}
	b.ReportMetric(float64(first.Microseconds())/1e3, "ms-to-first-lookup")
	b.ReportMetric(memory(b, "VmRSS"), "rest-MiB")
}
