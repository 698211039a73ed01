package uplink_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

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
