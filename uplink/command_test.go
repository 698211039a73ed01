package uplink_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/uplink"
)

// obeyer is a gateway's side of commands: it notes ids and what was ordered.
type obeyer struct {
	mu     sync.Mutex
	spent  map[string]bool
	orders []string
	fail   error
}

func (o *obeyer) spend(_ context.Context, id string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := !o.spent[id]
	o.spent[id] = true
	return first, o.fail
}

func (o *obeyer) handle(_ context.Context, c uplink.Command, answer func(uplink.Reply)) {
	o.mu.Lock()
	o.orders = append(o.orders, c.Command)
	o.mu.Unlock()
	go answer(uplink.Reply{OK: true, Result: json.RawMessage(c.Args)})
}

func (o *obeyer) done() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.orders, ",")
}

// commander is a client that takes commands, and somebody who sends them.
type commander struct {
	*obeyer
	*uplink.Conn
	t      *testing.T
	client *uplink.Client
	url    string
	key    jose.JSONWebKey
	n      int
}

func newCommander(t *testing.T, change func(*uplink.Opts)) *commander {
	t.Helper()
	url := broker(t)
	o := opts(url, newMemory())
	c := &commander{t: t, url: url, obeyer: &obeyer{spent: map[string]bool{}}}
	var pinned jose.JSONWebKeySet
	c.key, pinned = keys()
	o.Commands = uplink.Commands{Keys: pinned, Spend: c.spend, Handle: c.handle,
		Clock: func() (time.Time, bool) { return time.Now(), true }}
	if change != nil {
		change(&o)
	}
	c.Conn = dial(t, url, "backend", uplink.GatewayTopics("gw-1").Replies(), uplink.GatewayTopics("gw-1").Status())
	c.client = run(t, o)
	for next(t, c.Conn).Topic != uplink.GatewayTopics("gw-1").Status() {
	}
	return c
}

// good is a command that counts.
func (c *commander) good() uplink.Command {
	c.n++
	return uplink.Command{ID: "c-" + strings.Repeat("x", c.n), Gateway: "gw-1", Nonce: c.client.State().Nonce,
		ExpiresAt: time.Now().Add(time.Minute), Command: "blink", Args: json.RawMessage(`{"a":1}`)}
}

func (c *commander) sign(cmd uplink.Command) []byte {
	c.t.Helper()
	b, err := uplink.SignCommand(cmd, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// ask sends a message and waits for the answer to it.
func (c *commander) ask(message []byte, retained bool) uplink.Reply {
	c.t.Helper()
	if err := c.Publish(c.t.Context(), uplink.GatewayTopics("gw-1").Commands(), retained, message); err != nil {
		c.t.Fatal(err)
	}
	return c.answer(message)
}

func (c *commander) answer(message []byte) uplink.Reply {
	c.t.Helper()
	for {
		in := next(c.t, c.Conn)
		var r uplink.Reply
		if err := json.Unmarshal(in.Payload, &r); err != nil {
			c.t.Fatal(err)
		}
		if r.Message == uplink.MessageID(message) {
			return r
		}
	}
}

func TestACommandIsCarriedOutAndAnswered(t *testing.T) {
	c := newCommander(t, nil)
	cmd := c.good()
	r := c.ask(c.sign(cmd), false)
	got, _ := json.Marshal(r.Result)
	if !r.OK || r.ID != cmd.ID || string(got) != `{"a":1}` || c.done() != "blink" {
		t.Errorf("got %+v after %q, want ok with the arguments after blink", r, c.done())
	}
}

func TestCommandsThatDoNotCount(t *testing.T) {
	other := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed([]byte(strings.Repeat("7", 32))), KeyID: "k1", Algorithm: "EdDSA"}
	for name, c := range map[string]struct {
		change func(*uplink.Command)
		sign   func(c *commander, cmd uplink.Command) []byte // the pinned key's unless set
		want   string
	}{
		"another gateway": {func(c *uplink.Command) { c.Gateway = "gw-2" }, nil, "OtherGateway"},
		"another nonce":   {func(c *uplink.Command) { c.Nonce = "guess" }, nil, "OtherConnection"},
		"no nonce":        {func(c *uplink.Command) { c.Nonce = "" }, nil, "OtherConnection"},
		"expired":         {func(c *uplink.Command) { c.ExpiresAt = time.Now().Add(-time.Second) }, nil, "Expired"},
		"an empty id":     {func(c *uplink.Command) { c.ID = "" }, nil, "WrongCommand"},
		"another key": {nil, func(_ *commander, cmd uplink.Command) []byte {
			b, _ := uplink.SignCommand(cmd, other)
			return b
		}, "WrongSignature"},
		"alg none": {nil, func(c *commander, cmd uplink.Command) []byte {
			b, _ := json.Marshal(cmd)
			return forge(c.t, `{"alg":"none","typ":"badged-command"}`, string(b))
		}, "WrongSignature"},
		"typ of a head": {nil, func(c *commander, cmd uplink.Command) []byte {
			b, _ := json.Marshal(cmd)
			return forge(c.t, goodHeader, string(b))
		}, "WrongSignature"},
		"no expiry": {nil, func(c *commander, cmd uplink.Command) []byte {
			return forge(c.t, `{"alg":"EdDSA","typ":"badged-command"}`, `{"id":"c-x","gateway":"gw-1","nonce":"`+cmd.Nonce+`","command":"blink"}`)
		}, "WrongCommand"},
		"not signed at all": {nil, func(*commander, uplink.Command) []byte { return []byte(`{"command":"blink"}`) }, "WrongSignature"},
		"too long":          {nil, func(*commander, uplink.Command) []byte { return make([]byte, 5000) }, "WrongSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCommander(t, nil)
			cmd := s.good()
			if c.change != nil {
				c.change(&cmd)
			}
			message := []byte(nil)
			if c.sign != nil {
				message = c.sign(s, cmd)
			} else {
				message = s.sign(cmd)
			}
			r := s.ask(message, false)
			if r.OK || r.Reason != c.want || r.Error == "" || s.done() != "" {
				t.Errorf("got %+v after %q, want refused as %s", r, s.done(), c.want)
			}
			if signed := r.Reason != "WrongSignature"; !signed && r.ID != "" || signed && r.ID != cmd.ID {
				t.Errorf("got id %q, want %q only where the command was signed", r.ID, cmd.ID)
			}
		})
	}
}

func TestACommandCountsOnce(t *testing.T) {
	c := newCommander(t, nil)
	message := c.sign(c.good())
	first := c.ask(message, false)
	again := c.ask(message, false)
	if !first.OK || again.OK || again.Reason != "Repeated" || c.done() != "blink" {
		t.Errorf("got %+v, then %+v, after %q; want it done once", first, again, c.done())
	}
}

func TestARetainedCommandIsNotHonoured(t *testing.T) {
	c := newCommander(t, nil)
	message := c.sign(c.good())
	if r := c.ask(message, true); !r.OK {
		t.Fatalf("live: got %+v, want ok: the gateway was there when it came", r)
	}
	// The gateway's next connection gets what the broker kept.
	nonce := c.client.State().Nonce
	kick := dial(t, c.url, "gw-1")
	kick.Close()
	until(t, "another connection", func() bool { s := c.client.State(); return s.Connected && s.Nonce != nonce })
	if r := c.answer(message); r.OK || r.Reason != "Retained" || c.done() != "blink" {
		t.Errorf("kept: got %+v after %q, want refused as Retained", r, c.done())
	}
}

func TestExpiryNeedsAClock(t *testing.T) {
	c := newCommander(t, func(o *uplink.Opts) { o.Commands.Clock = nil })
	cmd := c.good()
	cmd.ExpiresAt = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	if r := c.ask(c.sign(cmd), false); !r.OK {
		t.Errorf("got %+v, want ok while the clock is not known", r)
	}
}

func TestAGatewayWithoutKeysSaysSo(t *testing.T) {
	c := newCommander(t, func(o *uplink.Opts) { o.Commands = uplink.Commands{} })
	if r := c.ask(c.sign(c.good()), false); r.OK || r.Reason != "NoCommandKeys" || !strings.Contains(r.Error, "commands.keys") {
		t.Errorf("got %+v, want NoCommandKeys", r)
	}
}

func TestAnIDThatCannotBeNotedIsNotHonoured(t *testing.T) {
	c := newCommander(t, nil)
	c.fail = errors.New("disk is full")
	if r := c.ask(c.sign(c.good()), false); r.OK || r.Reason != "NotNoted" || c.done() != "" {
		t.Errorf("got %+v after %q, want refused", r, c.done())
	}
}

func TestCommandsKeepTheirOrder(t *testing.T) {
	c := newCommander(t, nil)
	var last []byte
	for _, name := range []string{"start", "stop", "start", "blink"} {
		cmd := c.good()
		cmd.Command = name
		last = c.sign(cmd)
		if err := c.Publish(t.Context(), uplink.GatewayTopics("gw-1").Commands(), false, last); err != nil {
			t.Fatal(err)
		}
	}
	c.answer(last)
	if got := c.done(); got != "start,stop,start,blink" {
		t.Errorf("got %s, want them in their order", got)
	}
}
