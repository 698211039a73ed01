package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gowebpki/jcs"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/session"
	"badged/uplink"
)

// listener is a backend that only listens: all that a gateway says over MQTT,
// without duplicates.
type listener struct {
	topics uplink.GatewayTopics
	broker uplink.Broker

	mu        sync.Mutex
	events    map[uint64]heardEvent // by seq
	decisions map[string]int        // by reason
	newest    *control.Status
	ack       uplink.Ack
}

// heardEvent is a message on the events topic.
type heardEvent struct {
	Seq    uint64          `json:"seq"`
	Hash   string          `json:"hash"`
	Record json.RawMessage `json:"record"`

	parsed struct {
		session.TransactionEvent
		Type string `json:"type"`
		Prev string `json:"prev"`
	}
}

// heardTelemetry is a message on the telemetry topic.
type heardTelemetry struct {
	Type string `json:"type"`
	Body struct {
		Reason string `json:"reason"`
	} `json:"body"`
}

// listen hears everything until ctx ends, over as many connections as it takes.
func listen(ctx context.Context, cfg config.Config) *listener {
	l := &listener{
		topics: uplink.GatewayTopics(cfg.ID), broker: uplink.Broker{URL: cfg.Broker.URL.String()},
		events: map[uint64]heardEvent{}, decisions: map[string]int{},
	}
	go func() {
		for ctx.Err() == nil {
			l.hearOnce(ctx) // its end is the broker's: try again
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return l
}

func (l *listener) hearOnce(ctx context.Context) error {
	c, err := uplink.Dial(ctx, l.broker, uplink.Session{ClientID: "demo-listener"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Subscribe(ctx, l.topics.Events(), l.topics.Telemetry(), l.topics.Status(), l.topics.Ack()); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Lost():
			return c.Err()
		case m := <-c.Messages():
			l.hear(m.Topic, m.Payload)
			m.Ack()
		}
	}
}

func (l *listener) hear(topic string, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch topic {
	case l.topics.Events():
		var e heardEvent
		if json.Unmarshal(payload, &e) == nil && json.Unmarshal(e.Record, &e.parsed) == nil {
			l.events[e.Seq] = e
		}
	case l.topics.Ack():
		var a uplink.Ack
		if json.Unmarshal(payload, &a) == nil {
			l.ack = a
		}
	case l.topics.Telemetry():
		var t heardTelemetry
		if json.Unmarshal(payload, &t) == nil && t.Type == "Decision" {
			l.decisions[t.Body.Reason]++
		}
	case l.topics.Status():
		var s control.Status
		if json.Unmarshal(payload, &s) == nil {
			l.newest = &s
		}
	}
}

// status is the last one heard.
func (l *listener) status() (control.Status, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == nil {
		return control.Status{}, false
	}
	return *l.newest, true
}

// decided counts the decisions with a reason.
func (l *listener) decided(reason string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decisions[reason]
}

// count counts a station's records of one event type.
func (l *listener) count(station string, t session.EventType) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.parsed.Station == station && e.parsed.EventType == t {
			n++
		}
	}
	return n
}

// last is a station's newest record of one event type.
func (l *listener) last(station string, t session.EventType) (r session.TransactionEvent, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var newest uint64
	for seq, e := range l.events {
		if e.parsed.Station == station && e.parsed.EventType == t && seq > newest {
			r, ok, newest = e.parsed.TransactionEvent, true, seq
		}
	}
	return r, ok
}

// acknowledged tells whether the backend has acknowledged every record heard.
func (l *listener) acknowledged() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := uint64(len(l.events))
	return l.ack.UpTo == end && l.ack.Hash == l.events[end].Hash
}

// chain checks what the contract promises to any reader: seq from 1 without a
// gap, each hash that of its record in RFC 8785 form, each record naming the
// hash before.
func (l *listener) chain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return errors.New("no record was heard")
	}
	prev := strings.Repeat("0", 64)
	for seq := uint64(1); seq <= uint64(len(l.events)); seq++ {
		e, ok := l.events[seq]
		if !ok {
			return fmt.Errorf("record %d is missing", seq)
		}
		form, err := jcs.Transform(e.Record)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		sum := sha256.Sum256(form)
		if hex.EncodeToString(sum[:]) != e.Hash || e.parsed.Prev != prev {
			return fmt.Errorf("record %d does not follow from the one before", seq)
		}
		prev = e.Hash
	}
	return nil
}
