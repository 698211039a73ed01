package backend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/uplink"
)

// Order is a command for a gateway, still without what ties it to a connection.
type Order struct {
	Gateway string
	Command string
	Args    any           // becomes a JSON object; may be nil
	Valid   time.Duration // until it expires; a minute unless set
	Wait    time.Duration // for the reply; half a minute unless set
}

// Send signs an order for the connection that the gateway has now, sends it and
// waits for the reply. A reply that says no is no error.
func (o Order) Send(ctx context.Context, b BrokerOpts, key jose.JSONWebKey) (uplink.Reply, error) {
	if err := uplink.CheckID(o.Gateway); err != nil {
		return uplink.Reply{}, fmt.Errorf("gateway: %w", err)
	}
	c, err := uplink.Dial(ctx, b, uplink.Session{ClientID: "badgectl-command-" + rand.Text()[:8]})
	if err != nil {
		return uplink.Reply{}, err
	}
	defer c.Close()
	l := &link{Conn: c, settle: settle}
	nonce, err := l.nonce(ctx, uplink.GatewayTopics(o.Gateway))
	if err != nil {
		return uplink.Reply{}, err
	}
	message, err := o.sign(nonce, key)
	if err != nil {
		return uplink.Reply{}, err
	}
	return l.order(ctx, uplink.GatewayTopics(o.Gateway), message, or(o.Wait, 30*time.Second))
}

func or(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

func (o Order) sign(nonce string, key jose.JSONWebKey) ([]byte, error) {
	c := uplink.Command{
		ID: strings.ToLower(rand.Text()), Gateway: o.Gateway, Nonce: nonce, Command: o.Command,
		ExpiresAt: time.Now().Add(or(o.Valid, time.Minute)).UTC().Truncate(time.Second),
	}
	if o.Args != nil {
		var err error
		if c.Args, err = json.Marshal(o.Args); err != nil {
			return nil, fmt.Errorf("encode command: %w", err)
		}
	}
	return uplink.SignCommand(c, key)
}

// nonce reads what the gateway says of its connection. A gateway that is away is
// an error: a nonce of a connection that is over is worth nothing.
func (l *link) nonce(ctx context.Context, t uplink.GatewayTopics) (string, error) {
	found, err := l.fetch(ctx, t.Status(), t.Online())
	if err != nil {
		return "", err
	}
	var online struct{ Online bool }
	var status struct{ Nonce string }
	if found[t.Status()] == nil {
		return "", fmt.Errorf("the broker knows no status of this gateway (is the id right? may this user read %s?)", t.Status())
	}
	if err := json.Unmarshal(found[t.Status()], &status); err != nil {
		return "", fmt.Errorf("read status: %w", err)
	}
	if b := found[t.Online()]; b != nil {
		if err := json.Unmarshal(b, &online); err != nil {
			return "", fmt.Errorf("read online: %w", err)
		}
	}
	if !online.Online || status.Nonce == "" {
		return "", fmt.Errorf("the gateway is not connected to the broker: a command that waits for it would not count")
	}
	return status.Nonce, nil
}

// order sends a command and waits for the reply that names it.
func (l *link) order(ctx context.Context, t uplink.GatewayTopics, message []byte, wait time.Duration) (uplink.Reply, error) {
	if err := l.Subscribe(ctx, t.Replies()); err != nil {
		return uplink.Reply{}, err
	}
	if err := l.Publish(ctx, t.Commands(), false, message); err != nil {
		return uplink.Reply{}, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case m := <-l.Messages():
			m.Ack()
			var r uplink.Reply
			if m.Topic == t.Replies() && json.Unmarshal(m.Payload, &r) == nil && r.Message == uplink.MessageID(message) {
				return r, nil
			}
		case <-timer.C:
			return uplink.Reply{}, fmt.Errorf("no reply within %v: it is not known whether the command was carried out (may this user write %s and read %s?)", wait, t.Commands(), t.Replies())
		case <-l.Lost():
			return uplink.Reply{}, l.Err()
		case <-ctx.Done():
			return uplink.Reply{}, ctx.Err()
		}
	}
}
