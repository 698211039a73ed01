package backend_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"badged/cmd/internal/backend"
	"badged/uplink/uplinktest"
)

// resting runs a receiver until it has waited n times between connections, and tells
// how long it wanted to: after a connection that brought something new, and after the
// others. drop is called when an acknowledgement is through, with whether it is the
// first of a record.
func resting(t *testing.T, b backend.BrokerOpts, n int, drop func(fresh bool)) (after, others []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	fresh, brought := false, false
	r, err := backend.OpenReceiver(t.TempDir(), backend.ReceiverOpts{Ack: true, Follow: func(backend.Record) {
		mu.Lock()
		defer mu.Unlock()
		fresh = true
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.FailAt(func(step string) {
		if step != "acknowledged" {
			return
		}
		mu.Lock()
		was := fresh
		fresh, brought = false, brought || was
		mu.Unlock()
		drop(was)
	})
	r.Rests(func(wait time.Duration) {
		if brought {
			after = append(after, wait)
		} else {
			others = append(others, wait)
		}
		if brought = false; len(after) == n || len(others) == n {
			cancel()
		}
	})
	if err := r.Run(ctx, b); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	return after, others
}

// dropAll ends the connections of all receivers.
func dropAll(s *mochi.Server) {
	for _, c := range s.Clients.GetAll() {
		if strings.HasPrefix(c.ID, "badgectl-events-") {
			c.Stop(io.EOF)
		}
	}
}

const doubling = "[1s 2s 4s 8s 16s 32s 1m0s 1m0s]"

func TestReceiverWaitsLongerForABrokerThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	uplinktest.Serve(t, l, func(net.Conn) {})
	_, waits := resting(t, backend.BrokerOpts{URL: "tcp://" + l.Addr().String()}, 8, func(bool) {})
	if got := fmt.Sprint(waits); got != doubling {
		t.Errorf("got waits of %s, want %s", got, doubling)
	}
}

// A broker that ends each connection once it has brought something new is one that
// works: its records must not wait for longer each time.
func TestReceiverIsBackAtOnceWhereRecordsCome(t *testing.T) {
	var s *mochi.Server
	b := brokerWith(t, new(anybody), func(server *mochi.Server) { s = server })
	g := newGateway(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := make(chan bool, 1)
	next <- true
	go func() {
		m := g.record("")
		for ctx.Err() == nil {
			select {
			case <-next:
				m = g.record("")
			default: // again, until somebody listens
			}
			_ = g.conn.Publish(ctx, "badged/v1/gateways/gw-1/events", false, m)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	// A connection that mochi-mqtt ends by itself, as it may in a takeover, is not counted.
	waits, _ := resting(t, b, 6, func(fresh bool) {
		if fresh {
			select {
			case next <- true:
			default:
			}
			dropAll(s)
		}
	})
	if got := fmt.Sprint(waits); got != "[1s 1s 1s 1s 1s 1s]" {
		t.Errorf("got waits of %s, want a second each", got)
	}
}

// One that ends each connection over the same record again is not.
func TestReceiverWaitsLongerWhereNothingNewComes(t *testing.T) {
	var s *mochi.Server
	b := brokerWith(t, new(anybody), func(server *mochi.Server) { s = server })
	g := newGateway(t, b)
	m := g.record("")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_ = g.conn.Publish(ctx, "badged/v1/gateways/gw-1/events", false, m)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	first := true
	_, waits := resting(t, b, 7, func(fresh bool) {
		if fresh || !first {
			first = false
			dropAll(s)
		}
	})
	if got := fmt.Sprint(waits); "[1s "+got[1:] != doubling {
		t.Errorf("got waits of %s, want those of %s but the first: only the first connection brought something", got, doubling)
	}
}

// What is acknowledged, to the broker or to a gateway, was synced before.
func TestReceiverSyncsBeforeItAcknowledges(t *testing.T) {
	b := broker(t)
	g := newGateway(t, b)
	r, err := backend.OpenReceiver(t.TempDir(), backend.ReceiverOpts{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	written, early := 0, []string(nil)
	r.FailAt(func(step string) {
		switch unsynced := r.Unsynced(); {
		case step == "written" && unsynced:
			written++
		case step != "written" && unsynced:
			early = append(early, step)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, b) }()
	one := g.record("")
	until(t, "the receiver listens", func() bool { g.send(one); return len(g.conn.Messages()) > 0 })
	g.acked(1)
	g.send(g.record(""), g.record(""))
	g.acked(3)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(early) > 0 || written == 0 {
		t.Errorf("got %v before all was on disk, after %d records written; want none, and some written", early, written)
	}
}
