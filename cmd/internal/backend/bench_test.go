package backend_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// BenchmarkList takes a list of 100,000 badges from the publisher's folder to a
// gateway's SQLite: the whole as a snapshot, then deltas of one badge.
func BenchmarkList(b *testing.B) {
	dir, at := b.TempDir(), broker(b)
	p := publisher(b, dir, at)
	push(b, p, badges(0, 100_000), backend.PushOpts{})
	keys, err := backend.ReadKeys(filepath.Join(dir, backend.KeysFile))
	if err != nil {
		b.Fatal(err)
	}
	list, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer list.Close()
	ledger, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1",
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }})
	if err != nil {
		b.Fatal(err)
	}
	defer ledger.Close()
	applied := make(chan time.Time, 10)
	c, err := uplink.New(uplink.Opts{Gateway: "gw-1", Broker: at, List: "desk", Keys: keys, Store: list, Ratchet: ledger, Outbox: ledger,
		OnList: func(e uplink.ListEvent) { applied <- time.Now() }})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	background(b, func(ctx context.Context) error { return c.Run(ctx) })
	whole := (<-applied).Sub(began)

	watch, err := uplink.Dial(b.Context(), at, uplink.Session{ClientID: "watch"})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Close()
	if err := watch.Subscribe(b.Context(), uplink.ListTopics("desk").Head()); err != nil {
		b.Fatal(err)
	}
	<-watch.Messages()
	var total time.Duration
	n := 0
	for b.Loop() {
		n++
		push(b, p, badges(0, 100_000+n), backend.PushOpts{})
		<-watch.Messages()
		head := time.Now()
		total += max((<-applied).Sub(head), 0)
	}
	b.ReportMetric(whole.Seconds(), "s/snapshot")
	b.ReportMetric(float64(total.Microseconds())/1000/float64(n), "ms/delta")
}

// BenchmarkReadCSV reads a list of 1,000,000 badges that Excel has saved.
func BenchmarkReadCSV(b *testing.B) {
	list := "\ufeff" + strings.NewReplacer(",", ";", "\n", "\r\n").Replace(badges(0, 1_000_000))
	b.SetBytes(int64(len(list)))
	for b.Loop() {
		if e, err := backend.ReadCSV(strings.NewReader(list)); err != nil || len(e) != 1_000_000 {
			b.Fatalf("got %d badges, %v", len(e), err)
		}
	}
}
