package backend_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// place is a list with its publisher on a broker, and a gateway that reads it.
type place struct {
	*uplinktest.Server
	t    *testing.T
	name string // of the list
	dir  string // of the publisher
	key  jose.JSONWebKey
	root jose.JSONWebKey
	gw   *follower
}

func newPlace(t *testing.T, s *uplinktest.Server, name string) *place {
	p := &place{s, t, name, t.TempDir(), listKey(t), rootKey(t), nil}
	p.gw = p.gateway("gw-" + name)
	return p
}

// gateway is one with an empty card.
func (p *place) gateway(id string) *follower {
	p.t.Helper()
	f := newFollower(p.t, p.Broker(), publicOf(p.key), publicOf(p.root))
	f.o.Gateway, f.o.List = id, p.name
	f.o.Log = slog.New(slog.NewTextHandler(p.t.Output(), nil))
	f.o.RetryMin, f.o.RetryMax = 20*time.Millisecond, 200*time.Millisecond
	f.o.Status = func() any {
		f.mu.Lock()
		defer f.mu.Unlock()
		return map[string]string{"nonce": f.client.State().Nonce}
	}
	return f
}

// publisher does something with the list's folder.
func (p *place) publisher(do func(*backend.Publisher) error) {
	p.t.Helper()
	pub, err := backend.OpenPublisher(p.dir, p.name, p.Broker(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	defer pub.Close()
	pub.Settle = 500 * time.Millisecond
	if err := do(pub); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) push(csv string) (done backend.Pushed) {
	p.t.Helper()
	p.publisher(func(pub *backend.Publisher) (err error) {
		done, err = pub.Push(p.t.Context(), entries(p.t, csv), backend.PushOpts{Force: true})
		return err
	})
	return done
}

func (p *place) compact() {
	p.t.Helper()
	p.publisher(func(pub *backend.Publisher) error { _, err := pub.Compact(p.t.Context()); return err })
}

func (p *place) repair() (sent int) {
	p.t.Helper()
	p.publisher(func(pub *backend.Publisher) (err error) { sent, err = pub.Repair(p.t.Context()); return err })
	return sent
}

// kept is how many badges the broker holds, all hashes checked.
func (p *place) kept() int {
	p.t.Helper()
	_, list, err := backend.Verify(p.t.Context(), p.Broker(), p.name, publicOf(p.key))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

// dial is another client, which listens.
func (p *place) dial(id string, topics ...string) *uplink.Conn {
	p.t.Helper()
	c, err := uplink.Dial(p.t.Context(), p.Broker(), uplink.Session{ClientID: id})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	if err := c.Subscribe(p.t.Context(), topics...); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// heard waits for a message.
func (p *place) heard(c *uplink.Conn, what string, is func(uplink.Incoming) bool) {
	p.t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case m := <-c.Messages():
			m.Ack()
			if is(m) {
				return
			}
		case <-c.Lost():
			p.t.Fatal(c.Err())
		case <-late:
			p.t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}

func (p *place) head() uplink.Head {
	p.t.Helper()
	h, err := backend.Show(p.t.Context(), p.Broker(), p.name, publicOf(p.key))
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

// book has the gateway end n sessions.
func (p *place) book(n int) {
	p.t.Helper()
	for range n {
		err := p.gw.ledger.Commit(p.t.Context(), session.Commit{Records: []session.Record{
			session.TransactionEvent{EventType: session.Started, TransactionID: "t"}}})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// receive runs a backend with that folder until stop.
func (p *place) receive(dir string) (stop func()) {
	p.t.Helper()
	r, err := backend.OpenReceiver(dir, backend.ReceiverOpts{Ack: true, Log: slog.New(slog.NewTextHandler(p.t.Output(), nil))})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, p.Broker()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("receiver ended: %v", err)
		}
		r.Close()
	})
	p.t.Cleanup(stop)
	return stop
}

// acknowledged waits for the backend to have all records. A broker that loses some
// twice in a minute delays them by that.
func (p *place) acknowledged(what string) {
	p.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		o, err := p.gw.ledger.Outbox(p.t.Context())
		if err == nil && o.Committed == o.End && o.End > 1 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("waited two minutes in vain: %s; last: %+v, %v", what, o, err)
		}
	}
}

// wire is a network that can be cut.
type wire struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: to, l: l}
	t.Cleanup(w.cut)
	go w.run()
	return w
}

func (w *wire) run() {
	for {
		in, err := w.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		go io.Copy(in, out)
		go io.Copy(out, in)
	}
}

// cut ends everything that goes through, and takes nothing new.
func (w *wire) cut() {
	w.l.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
}

func (p *place) again() {
	p.t.Helper()
	p.Run()
	until(p.t, "the gateway is back", func() bool { return !p.gw.client.Offline() })
}

// atWork is a place with a list of 100 badges, a gateway and a backend.
func (p *place) atWork() {
	p.t.Helper()
	p.receive(filepath.Join(p.dir, "records"))
	p.push(badges(0, 100)) // takes as long as the backend may need to listen
	p.gw.start()
	p.gw.until("the list", 0, 100)
	p.book(5)
	p.acknowledged("records before")
}

func (p *place) away(n int) {
	p.t.Helper()
	until(p.t, "the loss is noticed", func() bool { return p.gw.client.Offline() })
	p.book(n)
}

// after is what must hold once the broker is back.
func (p *place) after() {
	p.t.Helper()
	p.acknowledged("records booked meanwhile")
	p.push(badges(0, 101))
	p.gw.until("a delta", 0, 101)
	fresh := p.gateway("gw-fresh-" + p.name)
	fresh.start()
	fresh.until("the list on a fresh card", 0, 101)
	fresh.stop()
}
