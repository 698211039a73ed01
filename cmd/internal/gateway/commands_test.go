package gateway

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/control"
	"badged/uplink"
)

// commanded is a house with a broker, a list, and somebody who may command it.
type commanded struct {
	*house
	broker backend.BrokerOpts
	sign   jose.JSONWebKey
}

func newCommanded(t *testing.T) *commanded {
	t.Helper()
	url := mqttBroker(t, new(auth.AllowHook), nil)
	h := newCommandedHouse(t, url)
	h.start()
	h.push(url, "uid,account\n04A1B2C3,r-1\n")
	h.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 && s.Broker.Connected })
	return h
}

// newCommandedHouse is one that nobody is at home in yet.
func newCommandedHouse(t *testing.T, url string) *commanded {
	t.Helper()
	h := &commanded{house: newHouse(t, url), broker: backend.BrokerOpts{URL: url}}
	if err := backend.CommandKeygen(h.dir); err != nil {
		t.Fatal(err)
	}
	h.cfg.CommandKeys = filepath.Join(h.dir, backend.CommandKeysFile)
	var err error
	if h.sign, err = backend.ReadKey(filepath.Join(h.dir, backend.CommandKeyFile)); err != nil {
		t.Fatal(err)
	}
	return h
}

// order sends a command and returns the reply to it.
func (h *commanded) order(name string, args any) uplink.Reply {
	h.t.Helper()
	r, err := backend.Order{Gateway: "gw-1", Command: name, Args: args}.Send(h.t.Context(), h.broker, h.sign)
	if err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	return r
}

type args map[string]any

func TestCommandsFromAfar(t *testing.T) {
	h := newCommanded(t)
	if r := h.order("start", args{"station": "washer", "uid": "04a1b2c3"}); !r.OK || r.Status != "Accepted" {
		t.Fatalf("start: got %+v, want Accepted", r)
	}
	if on, _ := h.hw.relay(); !on {
		t.Error("start: got the relay off, want it on")
	}
	if r := h.order("start", args{"station": "washer", "uid": "04A1B2C3"}); r.OK || r.Status != "ConcurrentTx" || r.Error == "" {
		t.Errorf("start again: got %+v, want ConcurrentTx", r)
	}
	if r := h.order("stop", args{"station": "washer"}); !r.OK {
		t.Errorf("stop: got %+v, want ok", r)
	}
	h.eventually("the session's end", func(s control.Status) bool { return s.Stations[0].TransactionID == "" })
	if r := h.order("stop", args{"station": "washer"}); r.OK || r.Reason != "NoSession" {
		t.Errorf("stop of nothing: got %+v, want NoSession", r)
	}
	if r := h.order("disable", args{"station": "washer"}); !r.OK {
		t.Errorf("disable: got %+v, want ok", r)
	}
	if r := h.order("start", args{"station": "washer", "uid": "04A1B2C3"}); r.OK || r.Reason != "StationDisabled" {
		t.Errorf("start of a disabled station: got %+v, want StationDisabled", r)
	}
	if r := h.order("enable", args{"station": "washer"}); !r.OK {
		t.Errorf("enable: got %+v, want ok", r)
	}
	if r := h.order("blink", nil); !r.OK {
		t.Errorf("blink: got %+v, want ok", r)
	}
}

func TestCommandsThatMakeNoSense(t *testing.T) {
	h := newCommanded(t)
	for _, c := range []struct {
		what, name string
		args       any
		says       string
	}{
		{"an unknown command", "explode", nil, "unknown command"},
		{"an unknown station", "stop", args{"station": "dryer"}, `no station "dryer"`},
		{"an argument misspelt", "start", args{"station": "washer", "uuid": "04A1B2C3"}, `unknown field "uuid"`},
		{"no badge", "start", args{"station": "washer"}, "start"},
		{"a badge that is none", "start", args{"station": "washer", "uid": "hello"}, "start"},
		{"an unknown reader", "restart-reader", args{"reader": "attic"}, `no reader "attic"`},
		{"a range that goes back", "resend", args{"from": 5, "to": 2}, "resend from 5 to 2"},
		{"an argument of another type", "stop", args{"station": 7}, "arguments"},
		{"arguments that are no object", "stop", []int{1}, "arguments"},
	} {
		if r := h.order(c.name, c.args); r.OK || !strings.Contains(r.Error, c.says) {
			t.Errorf("%s: got %+v, want an error with %q", c.what, r, c.says)
		}
	}
}

func TestResendSendsAgain(t *testing.T) {
	h := newCommanded(t)
	h.eventually("records are taken", func(s control.Status) bool { return s.Ledger.Taken >= 1 })
	c, err := uplink.Dial(t.Context(), h.broker, uplink.Session{ClientID: "backend"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Subscribe(t.Context(), uplink.GatewayTopics("gw-1").Events()); err != nil {
		t.Fatal(err)
	}
	if r := h.order("resend", args{"from": 1, "to": 1}); !r.OK {
		t.Fatalf("got %+v, want ok", r)
	}
	select {
	case m := <-c.Messages():
		var e struct{ Seq uint64 }
		if err := json.Unmarshal(m.Payload, &e); err != nil || e.Seq != 1 {
			t.Errorf("got %s, want record 1 again", m.Payload)
		}
	case <-time.After(time.Minute):
		t.Error("got nothing, want record 1 again")
	}
}

func TestEnrolmentFromAfar(t *testing.T) {
	h := newCommanded(t)
	got := make(chan uplink.Reply, 1)
	ask := func() { go func() { got <- h.order("enrol", nil) }() }
	h.watch(ask, func(e control.Event) bool { return e.Kind == "enrol" })
	h.hw.put(virtual(t, "classic-1k", "30949AD1"))
	r := <-got
	b, _ := json.Marshal(r.Result)
	var e control.Enrolment
	if err := json.Unmarshal(b, &e); err != nil || !r.OK || e.UID != "30949AD1" || e.Verdict != "accept" {
		t.Errorf("got %+v, want the badge in full", r)
	}
}

func TestRestartOfAReaderIsNoSecondTap(t *testing.T) {
	h := newCommanded(t)
	card := virtual(t, "classic-1k", "04A1B2C3")
	h.hw.put(card)
	h.eventually("the session", func(s control.Status) bool { return s.Stations[0].TransactionID != "" })
	if r := h.order("restart-reader", args{"reader": "hall"}); !r.OK {
		t.Errorf("got %+v, want ok", r)
	}
	h.eventually("the badge again", func(s control.Status) bool { return h.working(s) && s.Readers[0].Health.Held == 1 })
	h.hw.take(card)
	h.eventually("the badge has gone", func(s control.Status) bool { return s.Readers[0].Health.Held == 0 })
	if on, moves := h.hw.relay(); !on || moves != 1 {
		t.Errorf("got relay %t after %d moves, want on after 1", on, moves)
	}
}

func TestTwoCommandsAtOnceStartOneSession(t *testing.T) {
	h := newCommanded(t)
	var both sync.WaitGroup
	replies := make([]uplink.Reply, 2)
	for i := range replies {
		both.Go(func() { replies[i] = h.order("start", args{"station": "washer", "uid": "04A1B2C3"}) })
	}
	both.Wait()
	if replies[0].OK == replies[1].OK {
		t.Errorf("got %+v, want one of them ok", replies)
	}
}

func TestARecordedCommandIsWorthNothing(t *testing.T) {
	h := newCommanded(t)
	topics := uplink.GatewayTopics("gw-1")
	c, err := uplink.Dial(t.Context(), h.broker, uplink.Session{ClientID: "eve"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Subscribe(t.Context(), topics.Commands(), topics.Replies()); err != nil {
		t.Fatal(err)
	}
	h.order("stop", args{"station": "washer"})
	recorded := (<-c.Messages()).Payload
	if first := <-c.Messages(); first.Topic != topics.Replies() {
		t.Fatalf("got %s, want the reply", first.Topic)
	}
	if err := c.Publish(t.Context(), topics.Commands(), false, recorded); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case m := <-c.Messages():
			if m.Topic != topics.Replies() {
				continue
			}
			var r uplink.Reply
			if err := json.Unmarshal(m.Payload, &r); err != nil || r.OK || r.Reason != "Repeated" {
				t.Errorf("got %s, want it refused as Repeated", m.Payload)
			}
			return
		case <-time.After(time.Minute):
			t.Fatal("no reply within a minute")
		}
	}
}

func TestCommandsNeedTheRightKey(t *testing.T) {
	h := newCommanded(t)
	h.sign = h.key // the list's: it may not command
	if r := h.order("stop", args{"station": "washer"}); r.OK || r.Reason != "WrongSignature" {
		t.Errorf("got %+v, want WrongSignature", r)
	}
}
