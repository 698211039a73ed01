package cache_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
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
	}
	b.Run("bare statement, 1000000", func(b *testing.B) { bareLookup(b, 1_000_000) })
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

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				l := newList(b)
				load(b, l, n)
			}
		})
	}
}
