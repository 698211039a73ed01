package uplink_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"badged/uplink"
)

// door is a broker's hook that lets in whom it wants.
type door struct {
	mochi.HookBase
	knows func(user, password string) bool          // nil: everybody
	lets  func(user, topic string, write bool) bool // nil: everything
}

func (*door) ID() string { return "door" }

func (*door) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (d *door) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return d.knows == nil || d.knows(string(p.Connect.Username), string(p.Connect.Password))
}

func (d *door) OnACLCheck(c *mochi.Client, topic string, write bool) bool {
	return d.lets == nil || d.lets(string(c.Properties.Username), topic, write)
}

// broker starts a broker in this process and returns its URL.
func broker(t *testing.T, hooks ...mochi.Hook) string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if len(hooks) == 0 {
		hooks = []mochi.Hook{new(door)}
	}
	for _, h := range hooks {
		if err := s.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return "tcp://" + l.Address()
}

// dial is another client of the broker.
func dial(t *testing.T, url, id string, topics ...string) *uplink.Conn {
	t.Helper()
	c, err := uplink.Dial(t.Context(), uplink.Broker{URL: url}, uplink.Session{ClientID: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Subscribe(t.Context(), topics...); err != nil {
		t.Fatal(err)
	}
	return c
}

// next is the next message, acknowledged.
func next(t *testing.T, c *uplink.Conn) uplink.Incoming {
	t.Helper()
	select {
	case m := <-c.Messages():
		m.Ack()
		return m
	case <-time.After(time.Minute):
		t.Fatal("got no message in 10 s")
		panic("unreachable")
	}
}

// publish sends a retained message.
func publish(t *testing.T, c *uplink.Conn, topic string, payload []byte) {
	t.Helper()
	if err := c.Publish(t.Context(), topic, true, payload); err != nil {
		t.Fatal(err)
	}
}

// run starts a client that tries again soon, and stops it at the end of the test.
func run(t *testing.T, o uplink.Opts) *uplink.Client {
	t.Helper()
	o.RetryMin, o.RetryMax = time.Millisecond, 10*time.Millisecond
	return start(t, o)
}

// start is run with the waits of o.
func start(t *testing.T, o uplink.Opts) *uplink.Client {
	t.Helper()
	c, err := uplink.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return c
}

// until waits for what must become true.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("waited 10 s in vain: %s", what)
		case <-tick.C:
		}
	}
}

// keys is a signing key and the set that pins it.
func keys() (jose.JSONWebKey, jose.JSONWebKeySet) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	k := jose.JSONWebKey{Key: private, KeyID: "k1", Algorithm: "EdDSA", Use: "sig"}
	return k, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}}
}
