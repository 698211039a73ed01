package backend_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// settle is how long a broker in this process may take to send what it has.
const settle = 100 * time.Millisecond

// anybody lets everybody do everything.
type anybody struct{ mochi.HookBase }

func (*anybody) ID() string { return "anybody" }
func (*anybody) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*anybody) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*anybody) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func broker(t testing.TB, hooks ...mochi.Hook) backend.BrokerOpts {
	t.Helper()
	return brokerWith(t, append(hooks, new(anybody))[0], func(*mochi.Server) {})
}

func brokerWith(t testing.TB, h mochi.Hook, before func(*mochi.Server)) backend.BrokerOpts {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	before(s)
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := s.AddHook(h, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return backend.BrokerOpts{URL: "tcp://" + l.Address()}
}

// until waits for what must become true.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// background runs something until the end of the test.
func background(t testing.TB, run func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("got %v at the end, want nil", err)
		}
	})
}

// publisher is one with a new key, whose folder is dir.
func publisher(t testing.TB, dir string, b backend.BrokerOpts) *backend.Publisher {
	t.Helper()
	if _, err := backend.ReadKey(filepath.Join(dir, backend.KeyFile)); err != nil {
		if err := backend.Keygen(dir); err != nil {
			t.Fatal(err)
		}
	}
	key, err := backend.ReadKey(filepath.Join(dir, backend.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	p, err := backend.OpenPublisher(dir, "desk", b, key)
	if err != nil {
		t.Fatal(err)
	}
	p.Settle = settle
	t.Cleanup(func() { p.Close() })
	return p
}

func entries(t testing.TB, csv string) []session.Entry {
	t.Helper()
	e, err := backend.ReadCSV(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func push(t testing.TB, p *backend.Publisher, csv string, o backend.PushOpts) backend.Pushed {
	t.Helper()
	done, err := p.Push(t.Context(), entries(t, csv), o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestGatewayAndBackendMeetOnABroker(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, "uid,status,services\n04A1B2C3,,laundry;charging\n04A1B2C4,Blocked,\n", backend.PushOpts{})
	keys, err := backend.ReadKeys(filepath.Join(dir, backend.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	list, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	ledger, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1",
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	r, err := backend.OpenReceiver(filepath.Join(dir, "records"), backend.ReceiverOpts{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	background(t, func(ctx context.Context) error { return r.Run(ctx, b) })
	c, err := uplink.New(uplink.Opts{Gateway: "gw-1", Broker: b, List: "desk", Keys: keys, Store: list, Ratchet: ledger, Outbox: ledger})
	if err != nil {
		t.Fatal(err)
	}
	background(t, c.Run)

	until(t, "the list is in force", func() bool { v, _ := list.InForce(t.Context()); return v.Count == 2 })
	push(t, p, "uid,status\n04A1B2C3,Blocked\n", backend.PushOpts{})
	until(t, "the badge is blocked", func() bool {
		l, err := list.Lookup(t.Context(), "04A1B2C3")
		return err == nil && l.Entry.Status == session.Blocked && l.List.Count == 1
	})
	for range 3 {
		if err := ledger.Commit(t.Context(), session.Commit{Records: []session.Record{session.TransactionEvent{EventType: session.Started, TransactionID: "t"}}}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is acknowledged", func() bool {
		o, err := ledger.Outbox(t.Context())
		return err == nil && o.Committed == o.End && o.End >= 4
	})
	if _, got, err := backend.Verify(t.Context(), b, "desk", keys); err != nil || len(got) != 1 || got[0].UID != "04A1B2C3" {
		t.Errorf("Verify: got %v, %v, want the one badge", got, err)
	}
}
