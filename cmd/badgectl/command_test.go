package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"badged/cmd/internal/backend"
	"badged/uplink"
)

// mqttBroker is a broker in this process.
func mqttBroker(t *testing.T) string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return "tcp://" + l.Address()
}

// badgectl runs the program and returns what it printed and its exit code.
func badgectl(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var o, e bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// obedient is a gateway that says yes to stop, no to start, and what it was told.
func obedient(t *testing.T, broker, keysFile string) {
	t.Helper()
	keys, err := backend.ReadKeys(keysFile)
	if err != nil {
		t.Fatal(err)
	}
	topics := uplink.GatewayTopics("gw-1")
	c, err := uplink.Dial(t.Context(), uplink.Broker{URL: broker}, uplink.Session{ClientID: "gw-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Subscribe(t.Context(), topics.Commands()); err != nil {
		t.Fatal(err)
	}
	for topic, b := range map[string]string{topics.Status(): `{"nonce":"N1"}`, topics.Online(): `{"online":true}`} {
		if err := c.Publish(t.Context(), topic, true, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			select {
			case m := <-c.Messages():
				b, _ := json.Marshal(obey(m.Payload, keys.Keys[0].Key))
				_ = c.Publish(t.Context(), topics.Replies(), false, b)
			case <-t.Context().Done():
				return
			}
		}
	}()
}

func TestCommandReachesTheGateway(t *testing.T) {
	broker, dir := mqttBroker(t), t.TempDir()
	if _, e, code := badgectl(t, "command", "keygen", "--out", dir); code != 0 {
		t.Fatal(e)
	}
	obedient(t, broker, filepath.Join(dir, "command-keys.jwks"))
	flags := []string{"--gateway", "gw-1", "--sign", filepath.Join(dir, "command-key.jwk"), "--broker", broker}
	for _, c := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"a yes", []string{"command", "stop", "--station", "washer"}, 0, `"told": "{\"station\":\"washer\"}"`},
		{"a yes as JSON", []string{"command", "stop", "--station", "washer", "--json"}, 0, `"ok":true`},
		{"numbers", []string{"command", "resend", "--from", "3", "--to", "9"}, 0, `{\"from\":3,\"to\":9}`},
		{"no arguments", []string{"command", "blink"}, 0, `"told": ""`},
		{"a no", []string{"command", "start", "--station", "washer", "--uid", "04A1B2C3"}, 1, "StationOccupied"},
		{"a command that is none", []string{"command", "explode"}, 2, "explode"},
		{"a flag forgotten", []string{"command", "stop"}, 2, "--station"},
	} {
		out, errOut, code := badgectl(t, append(c.args, flags...)...)
		if code != c.code || !strings.Contains(out+errOut, c.says) {
			t.Errorf("%s: got exit %d and %s%s, want %d and %q", c.what, code, out, errOut, c.code, c.says)
		}
	}
}

func TestCommandToAGatewayThatIsAway(t *testing.T) {
	broker, dir := mqttBroker(t), t.TempDir()
	if err := backend.CommandKeygen(dir); err != nil {
		t.Fatal(err)
	}
	c, err := uplink.Dial(t.Context(), uplink.Broker{URL: broker}, uplink.Session{ClientID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	topics := uplink.GatewayTopics("gw-1")
	for topic, b := range map[string]string{topics.Status(): `{"nonce":"N1"}`, topics.Online(): `{"online":false}`} {
		if err := c.Publish(t.Context(), topic, true, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	_, errOut, code := badgectl(t, "command", "blink", "--gateway", "gw-1", "--sign", filepath.Join(dir, "command-key.jwk"), "--broker", broker)
	if code != 1 || !strings.Contains(errOut, "not connected") {
		t.Errorf("got exit %d and %s, want 1 and that it is not connected", code, errOut)
	}
}

// obey checks the signature by hand, as somebody else's gateway would.
func obey(message []byte, key any) uplink.Reply {
	r := uplink.Reply{Message: uplink.MessageID(message)}
	o, err := jose.ParseSignedCompact(string(message), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return r
	}
	b, err := o.Verify(key)
	var c uplink.Command
	if err != nil || json.Unmarshal(b, &c) != nil || c.Gateway != "gw-1" || c.Nonce != "N1" || time.Until(c.ExpiresAt) <= 0 {
		r.Error = "signature, gateway, nonce or expiry is wrong"
		return r
	}
	r.ID = c.ID
	if c.Command == "start" {
		r.Reason = "StationOccupied"
		return r
	}
	r.OK, r.Result = true, map[string]string{"told": string(c.Args)}
	return r
}
