package gateway

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/control"
	"badged/session"
)

var soakHours = flag.Int("hours", 24, "hours of the gateway's clock that T12 lasts")

// usage is what a process takes of its host.
type usage struct {
	goroutines, files int
	heap, resident    int64 // bytes
}

func use(tb testing.TB) (u usage) {
	tb.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Skip(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip(err)
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rss, &u.resident); err != nil {
		tb.Fatal(err)
	}
	u.resident <<= 10
	u.goroutines, u.files, u.heap = runtime.NumGoroutine(), len(fds), int64(m.HeapAlloc)
	return u
}

// rest is the least use within a second: a connection that has just begun has more
// or fewer goroutines for a moment.
func rest(tb testing.TB) usage {
	tb.Helper()
	least := use(tb)
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		u := use(tb)
		least = usage{min(least.goroutines, u.goroutines), min(least.files, u.files), min(least.heap, u.heap), min(least.resident, u.resident)}
	}
	return least
}

// T12: a day of the gateway's clock, with two sessions an hour, a meter that is
// read every minute, a broker that throws the gateway out every hour, and a
// ledger whose records go after an hour. Goroutines, open files and memory stay
// as they are after the first hours.
func TestT12_Soak(t *testing.T) {
	server, address := mqttServer(t, "127.0.0.1:0", new(auth.AllowHook), nil)
	s := newStage(t, session.Charging)
	var err error
	if s.cfg.Broker.URL, err = url.Parse(address); err != nil {
		t.Fatal(err)
	}
	s.cfg.Broker.AckByBroker, s.cfg.Retention = true, time.Hour
	s.wake(boot("boot-1", noon))
	var before usage
	for hour := range *soakHours {
		for range 2 {
			s.show("04A1B2C3", session.PhasePreparing)
			s.load(11000, 14*time.Minute)
			s.show("04A1B2C3", session.PhaseAvailable)
			s.load(0, 14*time.Minute)
			s.g.ctl.Tap("hall", "FFFFFFFF", session.Card{})
		}
		nonce := ""
		s.eventually("all records at the broker", func(st control.Status) bool {
			nonce = st.Nonce // another at every connection
			return st.Broker.Connected && st.Ledger.Committed == st.Ledger.End
		})
		for _, c := range server.Clients.GetAll() {
			if !c.Net.Inline {
				c.Stop(fmt.Errorf("the hour is over"))
			}
		}
		s.eventually("the broker again", func(st control.Status) bool { return st.Broker.Connected && st.Nonce != nonce })
		if err := s.g.ledger.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.g.prune(t.Context())
		if hour == min(3, *soakHours/2) {
			before = rest(t)
		}
	}
	after := rest(t)
	stats, err := s.g.ledger.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %d hours: %d goroutines, %d files, heap %d KiB, resident %d KiB, %d records made, ledger of %d KiB; before: %d, %d, %d, %d",
		*soakHours, after.goroutines, after.files, after.heap>>10, after.resident>>10, stats.End, stats.Bytes>>10,
		before.goroutines, before.files, before.heap>>10, before.resident>>10)
	if after.goroutines > before.goroutines+4 || after.files > before.files+4 || after.heap > before.heap+2<<20 || after.resident > before.resident+8<<20 {
		t.Errorf("got %+v, want as before: %+v", after, before)
	}
	if stats.Bytes > 1<<20 {
		t.Errorf("got a ledger of %d KiB, want one that does not grow", stats.Bytes>>10)
	}
}
