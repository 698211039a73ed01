package uplink_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"badged/uplink"
	"badged/uplink/uplinktest"
)

// hostile is a broker that does with each connection what the test wants, and
// returns its URL.
func hostile(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	uplinktest.Serve(t, l, serve)
	return "tcp://" + l.Addr().String()
}

// answers makes a broker of one that is asked for each packet after the CONNECT,
// and takes its bytes for an answer.
func answers(answer func(packets.ControlPacket) []byte) func(net.Conn) {
	return func(c net.Conn) {
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			var out []byte
			if _, ok := p.(*packets.ConnectPacket); ok {
				out = []byte{0x20, 2, 0, 0}
			} else {
				out = answer(p)
			}
			if _, err := c.Write(out); err != nil || bytes.HasSuffix(out, hangUp) {
				return
			}
		}
	}
}

// hangUp at the end of an answer ends the connection.
var hangUp = []byte("hang up")

// good is what a good broker answers.
func good(p packets.ControlPacket) []byte {
	id := p.Details().MessageID
	high, low := byte(id>>8), byte(id)
	switch p.(type) {
	case *packets.SubscribePacket:
		return []byte{0x90, 3, high, low, 1}
	case *packets.UnsubscribePacket:
		return []byte{0xB0, 2, high, low}
	case *packets.PublishPacket:
		return []byte{0x40, 2, high, low}
	case *packets.PingreqPacket:
		return []byte{0xD0, 0}
	}
	return nil
}

// to answers packets of the kind of like as f says, all others well.
func to[P packets.ControlPacket](f func(P) []byte) func(net.Conn) {
	return answers(func(p packets.ControlPacket) []byte {
		if p, ok := p.(P); ok {
			return f(p)
		}
		return good(p)
	})
}

func events(topic string) bool { return strings.HasSuffix(topic, "/events") }

// bad are brokers that do not do what they should. None of them may have a record
// taken that they did not acknowledge.
var bad = map[string]struct {
	serve func(net.Conn)
	says  string // in the state's error
}{
	"never answers CONNECT": {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "connect to"},
	"hangs up at CONNECT":   {func(c net.Conn) { _, _ = packets.ReadPacket(c) }, "connect to"},
	"garbage for a CONNACK": {func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "is it an MQTT 3.1.1 broker"},
	"half a CONNACK":        {func(c net.Conn) { _, _ = c.Write([]byte{0x20, 2, 0}) }, "connect to"},
	"a CONNACK of MQTT 5":   {func(c net.Conn) { _, _ = c.Write([]byte{0x20, 3, 0, 0, 0}); _, _ = io.Copy(io.Discard, c) }, "is it an MQTT 3.1.1 broker"},
	"a code that nobody knows": {func(c net.Conn) {
		_, _ = c.Write([]byte{0x20, 2, 0, 0x77})
		_, _ = io.Copy(io.Discard, c)
	}, "CONNACK with code 119"},
	"refuses the id": {func(c net.Conn) {
		_, _ = c.Write([]byte{0x20, 2, 0, 2})
		_, _ = io.Copy(io.Discard, c)
	}, "refuses the client id"},
	"refuses subscriptions": {to(func(p *packets.SubscribePacket) []byte {
		return []byte{0x90, 3, byte(p.MessageID >> 8), byte(p.MessageID), 0x80}
	}), "refuses with code 0x80 (check its access list)"},
	"codes for more topics than were asked for": {to(func(p *packets.SubscribePacket) []byte {
		return []byte{0x90, 6, byte(p.MessageID >> 8), byte(p.MessageID), 1, 1, 1, 1}
	}), "packet of type 9 with 6 bytes"},
	"a SUBACK without a code": {to(func(p *packets.SubscribePacket) []byte {
		return []byte{0x90, 2, byte(p.MessageID >> 8), byte(p.MessageID)}
	}), "packet of type 9 with 2 bytes"},
	"never answers SUBSCRIBE": {to(func(*packets.SubscribePacket) []byte { return nil }), "broker does not answer"},
	"acknowledges nothing":    {to(func(*packets.PublishPacket) []byte { return nil }), "broker does not answer"},
	"acknowledges other ids": {to(func(p *packets.PublishPacket) []byte {
		return []byte{0x40, 2, byte(p.MessageID>>8) ^ 0x40, byte(p.MessageID)}
	}), "broker does not answer"},
	"acknowledges a half": {to(func(p *packets.PublishPacket) []byte {
		if !events(p.TopicName) {
			return good(p)
		}
		return append([]byte{0x40, 2, byte(p.MessageID >> 8)}, hangUp...)
	}), "connection lost"},
	"hangs up in the middle of a message": {to(func(p *packets.PublishPacket) []byte {
		if !events(p.TopicName) {
			return good(p)
		}
		return append([]byte{0x32, 200, 1, 0, 4, 'b', 'a'}, hangUp...)
	}), "connection lost"},
	"promises 256 MB and sends none": {to(func(p *packets.PublishPacket) []byte {
		if !events(p.TopicName) {
			return good(p)
		}
		return append([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, hangUp...)
	}), "connection lost"},
	"a topic longer than its message": {to(func(p *packets.PublishPacket) []byte {
		if !events(p.TopicName) {
			return good(p)
		}
		return []byte{0x30, 4, 0xFF, 0xFF, 'a', 'b'}
	}), "connection lost"},
	"a message of QoS 3":   {to(func(p *packets.PublishPacket) []byte { return []byte{0x36, 5, 0, 1, 'a', 0, 1} }), "a message of QoS 3"},
	"speaks like a client": {to(func(p *packets.PublishPacket) []byte { return []byte{0x10, 0} }), "packet of type 1"},
	"the answer of QoS 2": {to(func(p *packets.PublishPacket) []byte {
		return []byte{0x50, 2, byte(p.MessageID >> 8), byte(p.MessageID)}
	}), "broker does not answer"},
	"a type that is none":   {to(func(p *packets.PublishPacket) []byte { return []byte{0xF0, 0} }), "packet of type 15"},
	"a length that is none": {to(func(p *packets.PublishPacket) []byte { return []byte{0x40, 0xFF, 0xFF, 0xFF, 0xFF, 1} }), "more than four digits"},
}

func TestBadBrokersTakeNothing(t *testing.T) {
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.record(30)
			o := opts(hostile(t, b.serve), m)
			o.Session = uplink.Session{ConnectTimeout: 500 * time.Millisecond, AnswerTimeout: 200 * time.Millisecond}
			c := run(t, o)
			until(t, "an attempt that failed as "+b.says, func() bool {
				s := c.State()
				return !s.Connected && strings.Contains(s.Err, b.says)
			})
			if got, _ := m.Outbox(t.Context()); got.Taken != 0 {
				t.Errorf("taken: got %d, want 0", got.Taken)
			}
		})
	}
}

// Two PUBACKs for a message are one; the last of a window alone is none.
func TestAcknowledgementsCountOnceAndInOrder(t *testing.T) {
	t.Run("each twice", func(t *testing.T) {
		m := newMemory()
		m.record(50)
		c := run(t, opts(hostile(t, to(func(p *packets.PublishPacket) []byte { return append(good(p), good(p)...) })), m))
		until(t, "all are taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 50 })
		if s := c.State(); !s.Connected || s.Err != "" {
			t.Errorf("got %+v, want a connection that stays", s)
		}
	})
	t.Run("all but the third", func(t *testing.T) {
		m := newMemory()
		m.record(10)
		n := 0
		o := opts(hostile(t, to(func(p *packets.PublishPacket) []byte {
			if !events(p.TopicName) {
				return good(p)
			}
			if n++; n == 3 {
				return nil
			}
			return good(p)
		})), m)
		o.Session = uplink.Session{AnswerTimeout: 200 * time.Millisecond}
		run(t, o)
		until(t, "all are taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 10 })
		if m.mu.Lock(); m.sent[0] != "taken 2" {
			t.Errorf("got %v, want 2 taken at first: the third was not acknowledged", m.sent)
		}
		m.mu.Unlock()
	})
}

// ours counts the goroutines that this package or paho has started.
func ours() int {
	b := make([]byte, 4<<20)
	b = b[:runtime.Stack(b, true)]
	n := 0
	for g := range strings.SplitSeq(string(b), "\n\n") {
		if strings.Contains(g, "created by github.com/eclipse/paho") || strings.Contains(g, "created by badged/uplink.") {
			n++
		}
	}
	return n
}

func TestBadBrokersLeaveNoGoroutines(t *testing.T) {
	for name, b := range bad {
		t.Run("", func(t *testing.T) {
			m := newMemory()
			m.record(30)
			o := opts(hostile(t, b.serve), m)
			o.Session = uplink.Session{ConnectTimeout: 300 * time.Millisecond, AnswerTimeout: 50 * time.Millisecond}
			c := run(t, o)
			until(t, "an attempt at one that "+name, func() bool { return c.State().Attempts >= 1 })
		})
	}
	// What is left ends within the connect timeout.
	until(t, "all goroutines have ended", func() bool { return ours() == 0 })
}

// FuzzBroker sends anything after a CONNACK. Nothing may panic or hang.
func FuzzBroker(f *testing.F) {
	for _, b := range []string{"\x90\x04\x00\x01\x01\x01", "\x40\x02\x00\x01", "\x30\x03\x00\x01a", "\x32\x05\x00\x01a\x00\x07", "\x34\x05\x00\x01a\x00\x07\x62\x02\x00\x07",
		"\x30\xff\xff\xff\x7f", "\xd0\x00", "\xe0\x00", "\xb0\x02\x00\x01", "\x30\x00", "\x20\x02\x00\x00"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		url := hostile(t, func(c net.Conn) {
			_, _ = packets.ReadPacket(c)
			_, _ = c.Write(append([]byte{0x20, 2, 0, 0}, sent...))
			_, _ = packets.ReadPacket(c)
		})
		c, err := uplink.Dial(t.Context(), uplink.Broker{URL: url}, uplink.Session{ClientID: "c", ConnectTimeout: 10 * time.Second, AnswerTimeout: 10 * time.Second})
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.Subscribe(t.Context(), "a", "b")
		select {
		case <-c.Lost():
		case <-time.After(time.Minute):
			t.Error("got no end of a connection that the broker closed")
		}
	})
}
