package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// store is the databases of a gateway whose list has n badges of account a.
func store(tb testing.TB, uids ...session.IDToken) (*cache.Ledger, *cache.List) {
	tb.Helper()
	dir := tb.TempDir()
	ledger, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{
		Gateway: "gw-1", Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} },
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ledger.Close() })
	list, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { list.Close() })
	var entries []session.Entry
	for _, uid := range uids {
		entries = append(entries, session.Entry{UID: uid, Status: session.Accepted, Account: "a"})
	}
	fill(tb, list, entries)
	return ledger, list
}

func fill(tb testing.TB, list *cache.List, entries []session.Entry) {
	tb.Helper()
	to := session.ListVersion{List: "l-1", Epoch: 1, Version: 1, Count: len(entries), IssuedAt: noon}
	if err := list.Stage(tb.Context(), to, 0, entries); err != nil {
		tb.Fatal(err)
	}
	if err := list.Activate(tb.Context(), to, 1); err != nil {
		tb.Fatal(err)
	}
}

// contact tells of each of its moves.
type contact chan bool

func (c contact) Set(on bool) error { c <- on; return nil }

// BenchmarkTapToRelay is from the badge's UID to the closed relay: lookup,
// decision, and the Started record on disk.
func BenchmarkTapToRelay(b *testing.B) {
	ledger, list := store(b, "04A1B2C3")
	moves := make(contact, 1)
	c := session.DefaultStation(session.Charging)
	c.ID, c.Reader, c.Meter = "garage", "hall", false
	var ahead atomic.Int64 // the dead times are jumped over
	ids := 0
	ctl := session.NewController(session.Config{
		Billing: session.Managed, Stations: []session.StationConfig{c},
		NewID: func() string { ids++; return fmt.Sprint("tx-", ids) },
	}, session.Deps{
		List: list, Journal: ledger, Power: map[string]session.Power{"garage": moves},
		Clock: func() session.Stamp {
			return session.Stamp{BootID: "b", Up: uptime() + time.Duration(ahead.Load()), Wall: noon, Clock: session.ClockSynced}
		},
	})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- ctl.Run(ctx) }()
	<-moves // off, from the journal
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		ctl.Tap("hall", "04A1B2C3", session.Card{})
		<-moves
		took = append(took, time.Since(start))
		ahead.Add(int64(time.Minute))
		ctl.Tap("hall", "04A1B2C3", session.Card{})
		<-moves
		ahead.Add(int64(time.Minute))
	}
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms/tap-p50")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms/tap-p99")
	b.ReportMetric(0, "ns/op") // start and stop together say little
}

// stored is how many bytes this process has sent to storage (proc(5), write_bytes).
func stored(b *testing.B) (n int64) {
	io, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(io)) {
		fmt.Sscanf(line, "write_bytes: %d", &n)
	}
	return n
}

// BenchmarkHourOfCheckpoints is what an hour of a running session writes to the
// card: checkpoints once a minute, and the quarters of charging.
func BenchmarkHourOfCheckpoints(b *testing.B) {
	for _, tc := range []struct {
		name  string
		kind  session.Service
		every time.Duration // between two readings
		watts float64
		power bool
	}{
		{"washer, S0, 2 kW", session.Laundry, 1800 * time.Millisecond, 2000, false},
		{"charger, Modbus, 11 kW", session.Charging, 2 * time.Second, 11000, true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			ledger, _ := store(b)
			c := session.DefaultStation(tc.kind)
			c.ID, c.Reader, c.MeterPower, c.MaxDuration = "s", "hall", tc.power, 0
			h := &hour{b: b, ledger: ledger, m: session.NewMachine(session.Config{
				Stations: []session.StationConfig{c}, NewID: func() string { return "tx-1" },
			}), now: session.Moment{Stamp: session.Stamp{BootID: "b", Up: time.Minute, Wall: noon, Clock: session.ClockSynced}}}
			h.read(0, tc.watts, tc.power)
			h.step(session.BadgeTapped{Reader: "hall", UID: "04A1B2C3", Listing: session.Listing{Found: true, Entry: session.Entry{Status: session.Accepted}}})
			before := stored(b)
			h.commits = 0
			for b.Loop() {
				for end := h.now.Up + time.Hour; h.now.Up < end; {
					h.now.Up, h.now.Wall = h.now.Up+tc.every, h.now.Wall.Add(tc.every)
					h.read(session.MilliWattHours(tc.watts*1000*tc.every.Hours()), tc.watts, tc.power)
				}
			}
			b.ReportMetric(float64(stored(b)-before)/float64(b.N), "B/hour")
			b.ReportMetric(float64(h.commits)/float64(b.N), "commits/hour")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type hour struct {
	b        *testing.B
	m        *session.Machine
	ledger   *cache.Ledger
	state    session.State
	now      session.Moment
	register session.MilliWattHours
	commits  int
}

func (h *hour) read(delta session.MilliWattHours, watts float64, power bool) {
	h.register += delta
	h.step(session.MeterRead{Station: "s", Sample: session.Sample{Register: h.register, Power: watts, HasPower: power}})
	if at, ok := h.m.NextDeadline(h.state, h.now.Up); ok && at <= h.now.Up {
		h.step(session.TimerDue{})
	}
}

func (h *hour) step(e session.Event) {
	next, out := h.m.Step(h.state, h.now, e)
	h.state = next
	if out.Commit.Empty() {
		return
	}
	h.commits++
	if err := h.ledger.Commit(h.b.Context(), out.Commit); err != nil {
		h.b.Fatal(err)
	}
}
