package uplink

import (
	"context"
	"net"
	"time"

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
