package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/reader/readertest"
	"badged/session"
)

// daemonEnv names the config of a gateway that runs in a process of its own.
const daemonEnv = "GATEWAY_DAEMON"

// TestDaemonChild is that process, until it is killed.
func TestDaemonChild(t *testing.T) {
	path := os.Getenv(daemonEnv)
	if path == "" {
		t.Skip("gateway of the benchmarks")
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Socket = filepath.Join(filepath.Dir(path), "c.sock")
	hw := &bench{chip: readertest.New(readertest.Opts{RealTime: true})}
	if err := Run(context.Background(), c, hw, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// daemon starts the gateway of a house in a process of its own, without a broker
// between the two.
func (h *house) daemon() *exec.Cmd {
	h.t.Helper()
	path := filepath.Join(h.dir, "daemon.toml")
	doc := strings.Replace(benchConfig, nowhere, h.cfg.Broker.URL.String(), 1)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDaemonChild$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), daemonEnv+"="+path)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return cmd
}

// mebibytes is a line of proc(5), /proc/pid/status.
func mebibytes(b *testing.B, pid int, line string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip(err)
	}
	var kib float64
	for l := range strings.Lines(string(status)) {
		fmt.Sscanf(l, line+": %f", &kib)
	}
	return kib / 1024
}

// BenchmarkDaemonWithAMillion is the whole gateway, chip emulator included, with a
// list of a million badges that comes over a broker: how long the snapshot takes,
// how much memory meanwhile, and how much at rest after a restart.
func BenchmarkDaemonWithAMillion(b *testing.B) {
	const n = 1_000_000
	h := newHouse(b, mqttBroker(b, new(auth.AllowHook), nil))
	var all []session.Entry
	for i := range n {
		all = append(all, session.Entry{UID: session.IDToken(fmt.Sprintf("04%012X", i)), Status: session.Accepted, Account: fmt.Sprint("r-", i)})
	}
	p, err := backend.OpenPublisher(filepath.Join(h.dir, "lists"), "l-1", backend.BrokerOpts{URL: h.cfg.Broker.URL.String()}, h.key)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Push(b.Context(), all, backend.PushOpts{}); err != nil {
		b.Fatal(err)
	}
	all = nil
	for b.Loop() {
		d, took := h.whole(b, n)
		b.ReportMetric(took.Seconds(), "s-to-load")
		b.ReportMetric(mebibytes(b, d.Process.Pid, "VmHWM"), "loading-MiB")
		end(b, d)
		d, took = h.whole(b, n)
		b.ReportMetric(float64(took.Milliseconds()), "ms-to-status")
		time.Sleep(2 * time.Second)
		b.ReportMetric(mebibytes(b, d.Process.Pid, "VmRSS"), "rest-MiB")
		b.ReportMetric(mebibytes(b, d.Process.Pid, "RssAnon"), "rest-anonymous-MiB")
		end(b, d)
	}
	b.ReportMetric(0, "ns/op")
}

// whole starts a daemon and waits until it has the list of n badges.
func (h *house) whole(b *testing.B, n int) (*exec.Cmd, time.Duration) {
	b.Helper()
	start := time.Now()
	d := h.daemon()
	for {
		var s control.Status
		if err := h.ctl.Get(b.Context(), "/v1/status", &s); err == nil && s.List.Count == n {
			return d, time.Since(start)
		}
		if time.Since(start) > 10*time.Minute {
			b.Fatalf("no list after 10 minutes")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func end(b *testing.B, d *exec.Cmd) {
	b.Helper()
	if err := d.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	_ = d.Wait() // killed
}
