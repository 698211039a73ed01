package uplink_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

func opts(url string, m *memory) uplink.Opts {
	_, pinned := keys()
	return uplink.Opts{Gateway: "gw-1", Broker: uplink.Broker{URL: url}, List: "desk", Keys: pinned, Store: m, Ratchet: m, Outbox: m}
}

func TestRecordsGoOutInOrderAndAreAcknowledged(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	m.record(70)
	run(t, opts(url, m))

	for seq := 1; seq <= 70; seq++ {
		var got struct {
			V, Seq       int
			Ledger, Hash string
			Record       json.RawMessage
		}
		in := next(t, backend)
		if err := json.Unmarshal(in.Payload, &got); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"account":"a<b>&","seq":%d}`, seq)
		if got.V != 1 || got.Seq != seq || got.Ledger != "l1" || string(got.Record) != want {
			t.Fatalf("message %d: got %s, want the record %s", seq, in.Payload, want)
		}
	}
	until(t, "all are taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 70 })
	publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":60,"hash":"h60"}`))
	until(t, "60 are committed", func() bool { o, _ := m.Outbox(t.Context()); return o.Committed == 60 })
	publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":50,"hash":"h50"}`))
	if in := next(t, backend); !strings.Contains(string(in.Payload), `"seq":51`) {
		t.Errorf("after an ack that goes back: got %s, want seq 51 again", in.Payload)
	}
}

func TestListComesBySnapshotThenByDelta(t *testing.T) {
	url := broker(t)
	p := dial(t, url, "publisher")
	b := newBook("desk", 1)
	b.push(entry("04A1B2C3", session.Accepted), entry("04A1B2C4", session.Accepted))
	b.snapshot(1)
	for topic, payload := range b.messages(t) {
		publish(t, p, topic, payload)
	}
	m := newMemory()
	run(t, opts(url, m))
	until(t, "version 1 is in force", func() bool { v, _ := m.inForce(); return v.Version == 1 })

	b.push(entry("04A1B2C3", session.Blocked))
	b.publishTo(t, p)
	until(t, "version 2 is in force", func() bool { v, _ := m.inForce(); return v.Version == 2 })
	if _, got := m.inForce(); got["04A1B2C3"].Status != session.Blocked || len(got) != 2 {
		t.Errorf("got %v, want 04A1B2C3 blocked among two", got)
	}
}

func TestTelemetryWaitsForTheLedger(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents, uplink.GatewayTopics("gw-1").Telemetry())
	m := newMemory()
	m.record(25)
	for seq := uint64(7); seq < 37; seq++ {
		m.ring = append(m.ring, session.Message{Seq: seq, Record: []byte(`{"type":"Decision"}`)})
	}
	run(t, opts(url, m))
	for i := range 55 {
		in := next(t, backend)
		if got, want := strings.HasSuffix(in.Topic, "/telemetry"), i >= 25; got != want {
			t.Fatalf("message %d on %s: want telemetry %t", i, in.Topic, want)
		}
	}
	until(t, "the ring is empty", func() bool { left, _ := m.NextTelemetry(t.Context(), 1); return len(left) == 0 })
}

func TestSilentBackendsGetItAgain(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	m.record(3)
	o := opts(url, m)
	o.AckTimeout = 50 * time.Millisecond
	run(t, o)
	seqs := func(n int) (s string) {
		for range n {
			var e struct{ Seq int }
			if err := json.Unmarshal(next(t, backend).Payload, &e); err != nil {
				t.Fatal(err)
			}
			s += fmt.Sprint(e.Seq)
		}
		return s
	}
	if got := seqs(6); got != "123123" {
		t.Errorf("got %s, want 123 twice", got)
	}
	publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":3,"hash":"h3"}`))
	until(t, "committed", func() bool { o, _ := m.Outbox(t.Context()); return o.Committed == 3 && o.Taken == 3 })
}

func TestAcksThatLieChangeNothing(t *testing.T) {
	for name, ack := range map[string]string{
		"another ledger":     `{"ledger":"l2","upTo":1,"hash":"h1"}`,
		"beyond the end":     `{"ledger":"l1","upTo":4,"hash":"h4"}`,
		"another hash":       `{"ledger":"l1","upTo":2,"hash":"h1"}`,
		"no hash":            `{"ledger":"l1","upTo":2}`,
		"no JSON":            `all of it`,
		"a member twice":     `{"ledger":"l1","upTo":1,"upTo":2,"hash":"h2"}`,
		"a negative number":  `{"ledger":"l1","upTo":-1,"hash":""}`,
		"longer than an ack": `{"ledger":"l1","upTo":1,"hash":"h1","x":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			url := broker(t)
			publish(t, dial(t, url, "backend"), uplink.GatewayTopics("gw-1").Ack(), []byte(ack))
			m := newMemory()
			m.record(3)
			o := opts(url, m)
			refused := make(chan error, 1)
			o.OnAck = func(err error) { refused <- err }
			run(t, o)
			select {
			case <-refused:
			case <-time.After(time.Minute):
				t.Fatal("got no refusal")
			}
			if got, _ := m.Outbox(t.Context()); got.Committed != 0 {
				t.Errorf("committed: got %d, want 0", got.Committed)
			}
		})
	}
}

// An ack that comes when there is nothing to send again asks for nothing: the next
// one counts.
func TestAnAckAfterTheLastRecordAsksForNothing(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	m.record(1)
	run(t, opts(url, m))
	next(t, backend)
	for range 3 {
		publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":1,"hash":"h1"}`))
	}
	until(t, "committed", func() bool { o, _ := m.Outbox(t.Context()); return o.Committed == 1 })
	m.record(1)
	next(t, backend)
	until(t, "taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 2 })
	publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":1,"hash":"h1"}`))
	if in := next(t, backend); !strings.Contains(string(in.Payload), `"seq":2,`) {
		t.Errorf("got %s, want seq 2 again", in.Payload)
	}
}

func TestAnAckThatComesAgainAsksForTheRest(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	m.record(2)
	run(t, opts(url, m))
	next(t, backend)
	next(t, backend)
	until(t, "taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 2 })
	publish(t, backend, uplink.GatewayTopics("gw-1").Ack(), []byte(`{"ledger":"l1","upTo":0,"hash":""}`))
	if in := next(t, backend); !strings.Contains(string(in.Payload), `"seq":1,`) {
		t.Errorf("got %s, want seq 1 again", in.Payload)
	}
}
