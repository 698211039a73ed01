package uplink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
	"badged/uplink"
)

// tape is a forwarder by a clock of its own, with a broker that takes everything
// and notes when.
type tape struct {
	m     *memory
	acks  chan uplink.Incoming
	began time.Time

	mu   sync.Mutex
	sent []string // "after seq", "after telemetry"
}

// play runs a forwarder inside synctest.
func play(t *testing.T, m *memory) *tape {
	t.Helper()
	p := &tape{m: m, acks: make(chan uplink.Incoming, 10), began: time.Now()}
	f := uplink.NewForwarder(m, func(err error) { t.Errorf("ack refused: %v", err) })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, p.carry, p.acks) }()
	t.Cleanup(func() { stop(); <-done })
	return p
}

func (p *tape) carry(topic string, payloads ...[]byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range payloads {
		var e struct{ Seq int }
		if err := json.Unmarshal(b, &e); err != nil {
			return 0, err
		}
		what := fmt.Sprint(time.Since(p.began), " ", e.Seq)
		if strings.HasSuffix(topic, "/telemetry") {
			what = fmt.Sprint(time.Since(p.began), " telemetry")
		}
		p.sent = append(p.sent, what)
	}
	return len(payloads), nil
}

// ack says what the backend has; published anew, not kept by the broker.
func (p *tape) ack(upTo int) {
	hash := ""
	if upTo > 0 {
		hash = fmt.Sprintf("h%d", upTo)
	}
	p.acks <- uplink.Message("", fmt.Appendf(nil, `{"ledger":"l1","upTo":%d,"hash":%q}`, upTo, hash), false)
	synctest.Wait()
}

func (p *tape) want(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.sent, want) {
		t.Errorf("%s: got sent %q, want %q", what, p.sent, want)
	}
	p.sent = nil
}

func TestAnAckThatStandsStillHasTheRestSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.record(2)
		p := play(t, m)
		p.want(t, "at first", "0s 1", "0s 2")
		p.ack(1)
		time.Sleep(6 * 24 * time.Hour)
		p.want(t, "without another ack", "1h0m0s 2", "3h0m0s 2", "7h0m0s 2", "15h0m0s 2", "31h0m0s 2", "55h0m0s 2", "79h0m0s 2", "103h0m0s 2", "127h0m0s 2")
		p.ack(2)
		time.Sleep(30 * 24 * time.Hour)
		p.want(t, "with all acknowledged")
		m.record(1)
		time.Sleep(90 * time.Minute)
		p.want(t, "a new one: an hour again", "864h0m0s 3", "865h0m0s 3")
	})
}

func TestAnAckThatIsSaidAgainHasTheRestSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.record(2)
		p := play(t, m)
		p.want(t, "at first", "0s 1", "0s 2")
		for range 300 { // a backend that says it once a second
			time.Sleep(time.Second)
			p.ack(0)
		}
		p.want(t, "said for five minutes", "1s 1", "1s 2", "1m1s 1", "1m1s 2", "3m1s 1", "3m1s 2")
	})
}

// A broker that loses records twice within a minute: the backend says what it lacks
// once each time, and is heard.
func TestAnAckThatAsksTooSoonIsHeardLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.record(2)
		p := play(t, m)
		p.want(t, "at first", "0s 1", "0s 2")
		time.Sleep(time.Second)
		p.ack(0)
		p.want(t, "asked for", "1s 1", "1s 2")
		p.ack(2)
		m.record(1)
		p.want(t, "a new one", "1s 3")
		p.ack(2)
		time.Sleep(3 * time.Hour)
		p.want(t, "asked for too soon", "1m1s 3", "3m1s 3", "7m1s 3", "15m1s 3", "31m1s 3", "1h3m1s 3", "2h7m1s 3")
	})
}

func TestReplaysArePacedAndYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.record(50)
		p := play(t, m)
		p.want(t, "at first", window(0, 1, 50)...)
		if err := m.Rewind(t.Context(), 1, 50); err != nil {
			t.Fatal(err)
		}
		p.want(t, "at once", window(0, 1, 20)...)
		for seq := range 10 { // acks that move, and records of today, speed nothing up
			p.ack(seq + 1)
		}
		m.ring = append(m.ring, session.Message{Seq: 1, Record: []byte(`{"type":"Decision"}`)})
		m.record(1)
		p.want(t, "in the pause", "0s 51", "0s telemetry")
		time.Sleep(time.Second)
		synctest.Wait()
		m.record(1)
		p.want(t, "after a second", append(window(1, 21, 40), "1s 52")...)
		time.Sleep(time.Minute)
		p.want(t, "after two", window(2, 41, 50)...)
	})
}

// window is what was sent at a second.
func window(second, from, to int) (sent []string) {
	for seq := from; seq <= to; seq++ {
		sent = append(sent, fmt.Sprintf("%ds %d", second, seq))
	}
	return sent
}
