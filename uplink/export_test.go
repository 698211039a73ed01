package uplink

import (
	"context"
	"log/slog"
	"net"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-jose/go-jose/v4"
)

// Subscriber is a connection as the list sees it.
type Subscriber = subscriber

// ListSync is the list's way here without a broker.
type ListSync struct{ s *listSync }

// NewListSync follows a list.
func NewListSync(list string, keys jose.JSONWebKeySet, store ListStore, r Ratchet, report func(ListEvent), now func() time.Time) ListSync {
	return ListSync{&listSync{topics: ListTopics(list), keys: newKeyring(Opts{List: list, Keys: keys}), store: store, ratchet: r, report: report, now: now, patience: patience}}
}

func (l ListSync) Connected(ctx context.Context, net Subscriber) error {
	return l.s.connected(ctx, net)
}
func (l ListSync) Message(ctx context.Context, topic string, payload []byte) error {
	return l.s.message(ctx, topic, payload)
}
func (l ListSync) Lost(ctx context.Context) error { return l.s.lost(ctx) }
func (l ListSync) Tick(ctx context.Context) error { return l.s.tick(ctx) }
func (l ListSync) Next() time.Time                { return l.s.next() }
func (l ListSync) State() ListState               { return l.s.state }

// Forwarder sends a ledger without a broker, by the clock time.Now.
type Forwarder struct{ f *forwarder }

// NewForwarder sends what out has for the gateway gw-1.
func NewForwarder(out Outbox, refuse func(error)) Forwarder {
	return Forwarder{&forwarder{topics: "gw-1", out: out, log: slog.New(slog.DiscardHandler), now: time.Now, refuse: refuse, first: time.Hour, busy: new(busy)}}
}

// Carry is a broker: it takes messages for a topic, and tells how many.
type Carry func(topic string, payloads ...[]byte) (taken int, err error)

func (c Carry) publish(_ context.Context, topic string, _ bool, payloads ...[]byte) (int, error) {
	return c(topic, payloads...)
}

// Run is one connection.
func (f Forwarder) Run(ctx context.Context, c Carry, acks <-chan Incoming) error {
	return f.f.run(ctx, c, acks)
}

// Message is one that came without a broker.
func Message(topic string, payload []byte, retained bool) Incoming {
	return Incoming{Topic: topic, Payload: payload, Retained: retained, m: noMessage{}}
}

type noMessage struct{ mqtt.Message }

func (noMessage) Ack() {}

// GuardWithin is Guard with an end of every write.
func GuardWithin(c net.Conn, patience time.Duration, broken func(error)) net.Conn {
	return newPacketGuard(c, patience, broken)
}

// Open makes the connection below MQTT and below the guard.
func Open(ctx context.Context, b Broker) (net.Conn, error) { return b.open(ctx) }

// Guard is the connection below MQTT.
func Guard(c net.Conn) net.Conn { return newPacketGuard(c, 0, func(error) {}) }

// MayReconnect tells whether paho may connect again by itself.
func MayReconnect(c *Conn) bool {
	o := c.client.OptionsReader()
	return o.AutoReconnect() || o.ConnectRetry()
}

// Hint is what to check first after an error.
var Hint = hint
