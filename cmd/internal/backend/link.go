package backend

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"badged/uplink"
)

// BrokerOpts says how to reach the broker.
type BrokerOpts = uplink.Broker

// settle is how long a broker may take to send what it has retained; MQTT 3.1.1
// has no answer for "nothing".
const settle = 2 * time.Second

// link is a connection that reads and writes retained messages.
type link struct {
	*uplink.Conn
	settle  time.Duration
	at      func(step string) // failpoint, nil otherwise
	watched string            // topic that stays subscribed, "" for none
	seen    []byte            // the last message there
}

// batch is how many topics are asked for at a time: AWS IoT Core takes eight.
const batch = 8

func connect(ctx context.Context, b BrokerOpts, settle time.Duration) (*link, error) {
	c, err := uplink.Dial(ctx, b, uplink.Session{ClientID: "badgectl-list-" + rand.Text()[:8]})
	if err != nil {
		return nil, err
	}
	return &link{Conn: c, settle: settle}, nil
}

// fetch reads the retained messages of the topics, at most a batch. What the
// broker does not have within the settling time is missing in the answer.
func (l *link) fetch(ctx context.Context, topics ...string) (map[string][]byte, error) {
	found, err := l.read(ctx, topics...)
	if err != nil {
		return nil, err
	}
	return found, l.Unsubscribe(ctx, topics...)
}

// watch fetches a retained message and goes on listening to its topic, so that
// unwatch knows what became of it without waiting for silence again.
func (l *link) watch(ctx context.Context, topic string) ([]byte, error) {
	found, err := l.read(ctx, topic)
	l.watched, l.seen = topic, found[topic]
	return found[topic], err
}

// unwatch is the last message on the watched topic. What the broker sent before
// it confirmed the end of the subscription is here.
func (l *link) unwatch(ctx context.Context) ([]byte, error) {
	if err := l.Unsubscribe(ctx, l.watched); err != nil {
		return nil, err
	}
	for {
		select {
		case m := <-l.Messages():
			l.note(m)
		default:
			l.watched = ""
			return l.seen, nil
		}
	}
}

// linger is the last message on the watched topic after a while of silence there.
func (l *link) linger(ctx context.Context) ([]byte, error) {
	t := time.NewTimer(l.settle)
	defer t.Stop()
	for {
		select {
		case m := <-l.Messages():
			l.note(m)
		case <-t.C:
			return l.seen, nil
		case <-l.Lost():
			return nil, l.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *link) note(m uplink.Incoming) {
	m.Ack()
	if m.Topic == l.watched {
		l.seen = m.Payload
	}
}

func (l *link) read(ctx context.Context, topics ...string) (map[string][]byte, error) {
	if err := l.Subscribe(ctx, topics...); err != nil {
		return nil, err
	}
	found := make(map[string][]byte)
	t := time.NewTimer(l.settle)
	defer t.Stop()
	for waiting := true; waiting && len(found) < len(topics); {
		select {
		case m := <-l.Messages():
			l.note(m)
			if slices.Contains(topics, m.Topic) && len(m.Payload) > 0 {
				found[m.Topic] = m.Payload
				t.Reset(l.settle)
			}
		case <-t.C:
			waiting = false
		case <-l.Lost():
			return nil, l.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return found, nil
}

// place makes sure that the broker holds the pieces, by reading each back. With
// send it sends them first, without it only those that are not there.
func (l *link) place(ctx context.Context, topics []string, send bool, piece func(string) ([]byte, error)) (sent int, err error) {
	for some := range slices.Chunk(topics, batch) {
		missing := some
		for try := 0; len(missing) > 0; try++ {
			if try == 3 {
				return sent, notKept(missing[0])
			}
			if send || try > 0 {
				if err := l.send(ctx, missing, piece); err != nil {
					return sent, err
				}
				sent += len(missing)
			}
			if missing, err = l.missing(ctx, missing, piece); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

func notKept(topic string) error {
	return fmt.Errorf("broker does not keep %s: check its access list and its limits on retained messages", topic)
}

func (l *link) send(ctx context.Context, topics []string, piece func(string) ([]byte, error)) error {
	for _, t := range topics {
		b, err := piece(t)
		if err != nil {
			return err
		}
		if err := l.Publish(ctx, t, true, b); err != nil {
			return err
		}
		l.reach("piece sent")
	}
	return nil
}

func (l *link) reach(step string) {
	if l.at != nil {
		l.at(step)
	}
}

// missing tells which of the pieces the broker does not hold as they should be.
func (l *link) missing(ctx context.Context, topics []string, piece func(string) ([]byte, error)) ([]string, error) {
	found, err := l.fetch(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, t := range topics {
		b, err := piece(t)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(found[t], b) {
			missing = append(missing, t)
		}
	}
	return missing, nil
}

// lacks tells whether any of the pieces is not on the broker as it should be.
func (l *link) lacks(ctx context.Context, topics []string, piece func(string) ([]byte, error)) (bool, error) {
	for some := range slices.Chunk(topics, batch) {
		if missing, err := l.missing(ctx, some, piece); err != nil || len(missing) > 0 {
			return len(missing) > 0, err
		}
	}
	return false, nil
}
