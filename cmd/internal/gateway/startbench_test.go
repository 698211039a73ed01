package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cache"
	"badged/session"
)

const startEnv = "GATEWAY_START"

// TestStartChild is a gateway of its own process on the folder in startEnv, to
// which a badge is shown as soon as its reader works.
func TestStartChild(t *testing.T) {
	state := os.Getenv(startEnv)
	if state == "" {
		t.Skip("child of BenchmarkStart")
	}
	h := newHouseOf(t, chargerConfig, nowhere)
	h.cfg.State = state
	closed := make(chan struct{})
	h.hw.moving = func(bool) { close(closed) }
	g := newGateway(h.cfg, h.hw, slog.New(slog.NewTextHandler(io.Discard, nil)), newClock())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.work(ctx) }()
	<-g.driven
	fmt.Println("driven")
	for g.readers[0].status().State != "ready" {
		time.Sleep(time.Millisecond)
	}
	h.hw.put(virtual(t, "classic-1k", "04A1B2C3"))
	<-closed
	fmt.Println("served")
	fmt.Println(use(t).resident)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// unsentRecords fills a ledger that no broker has been at.
func unsentRecords(tb testing.TB, path string, n int) {
	tb.Helper()
	l, err := cache.OpenLedger(path, cache.LedgerOpts{Gateway: "gw-1", Stamp: func() session.Stamp { return session.Stamp{BootID: "b"} }})
	if err != nil {
		tb.Fatal(err)
	}
	for from := 0; from < n; from += 1000 {
		c := session.Commit{}
		for i := from; i < from+1000; i++ {
			c.Records = append(c.Records, session.TransactionEvent{
				EventType: session.Updated, TransactionID: "a511d64d-1808-4673-a1fa-a1ad37387f12", SeqNo: i, TriggerReason: session.TriggerMeterClock,
				Station: "garage", Kind: session.Charging, Account: "r-1042", UID: "7b0c3f3d8e6f4a1d9c2b5e7f8a9b0c1d", MeterValue: int64(i), Energy: int64(i),
				At: session.Stamp{BootID: "0f3c5a7b9d1e4f608192a3b4c5d6e7f8", Up: time.Duration(i) * time.Minute, Wall: noon, Clock: session.ClockSynced}})
		}
		if err := l.Commit(tb.Context(), c); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkStart is from the start of a process, this test's own, to relays that
// are driven, and to the first tap served: the badge looked up, the start on disk,
// the relay closed. The reader's start with its self-test is in it.
func BenchmarkStart(b *testing.B) {
	for _, tc := range []struct{ badges, unsent int }{{1000, 0}, {1_000_000, 0}, {1_000_000, 100_000}} {
		b.Run(fmt.Sprintf("%d badges, %d unsent records", tc.badges, tc.unsent), func(b *testing.B) {
			dir := b.TempDir()
			list, err := cache.OpenList(filepath.Join(dir, "list.db"))
			if err != nil {
				b.Fatal(err)
			}
			to := session.ListVersion{List: "l-1", Epoch: 1, Version: 1, Count: tc.badges, IssuedAt: noon}
			chunks := 0
			for from := 0; from < tc.badges; from += 10_000 {
				var es []session.Entry
				for i := from; i < min(from+10_000, tc.badges); i++ {
					es = append(es, session.Entry{UID: session.IDToken(fmt.Sprintf("05%012X", i)), Status: session.Accepted, Account: "r-1042"})
				}
				es[0].UID = map[bool]session.IDToken{true: "04A1B2C3", false: es[0].UID}[from == 0]
				if err := list.Stage(b.Context(), to, chunks, es); err != nil {
					b.Fatal(err)
				}
				chunks++
			}
			if err := list.Activate(b.Context(), to, chunks); err != nil {
				b.Fatal(err)
			}
			list.Close()
			ledger := filepath.Join(dir, "ledger.db")
			unsentRecords(b, ledger, tc.unsent)
			whole, err := os.ReadFile(ledger)
			if err != nil {
				b.Fatal(err)
			}
			var driven, served, resident []float64
			for b.Loop() {
				if err := os.WriteFile(ledger, whole, 0o600); err != nil {
					b.Fatal(err)
				}
				d, s, r := startOnce(b, dir)
				driven, served, resident = append(driven, d), append(served, s), append(resident, r)
			}
			for unit, all := range map[string][]float64{"ms-to-relays": driven, "ms-to-first-tap": served, "resident-MiB": resident} {
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2], unit)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func startOnce(b *testing.B, dir string) (driven, served, resident float64) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStartChild$")
	cmd.Env = append(os.Environ(), startEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		ms := time.Since(began).Seconds() * 1000
		switch lines.Text() {
		case "driven":
			driven = ms
		case "served":
			served = ms
		default:
			if _, err := fmt.Sscan(lines.Text(), &resident); err == nil {
				return driven, served, resident / (1 << 20)
			}
		}
	}
	b.Fatal("the child said no more")
	return 0, 0, 0
}

// BenchmarkDrain is how fast 100,000 unsent records go out to a broker on loopback.
func BenchmarkDrain(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	path := filepath.Join(dir, "ledger.db")
	unsentRecords(b, path, n)
	whole, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			b.Fatal(err)
		}
		h := newHouseOf(b, chargerConfig, mqttBroker(b, new(auth.AllowHook), nil))
		h.cfg.State = dir
		g := newGateway(h.cfg, h.hw, slog.New(slog.DiscardHandler), newClock())
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- g.work(ctx) }()
		<-g.driven
		for {
			if o, err := g.ledger.Outbox(ctx); err == nil && o.Taken == o.End {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		b.StopTimer()
		b.ReportMetric(float64(use(b).resident)/(1<<20), "resident-MiB-with-broker")
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
}
