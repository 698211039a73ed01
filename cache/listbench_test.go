package cache_test

import (
	"fmt"
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
