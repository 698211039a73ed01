package gateway

import (
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/control"
	"badged/uplink"
)

// A root replaces the keys of the list and of commands, without a visit, and a
// restart does not bring the old ones back.
func TestKeysReplacedFromAfar(t *testing.T) {
	c := readContract(t)
	url := mqttBroker(t, new(auth.AllowHook), nil)
	p := &power{house: newHouse(t, url), stop: func() {}}
	b := backend.BrokerOpts{URL: url}
	key := func(dir, file string) jose.JSONWebKey {
		t.Helper()
		k, err := backend.ReadKey(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	fresh := t.TempDir()
	for dir, makers := range map[string][]func(string) error{p.dir: {backend.CommandKeygen, backend.RootKeygen}, fresh: {backend.Keygen, backend.CommandKeygen}} {
		for _, make := range makers {
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.cfg.CommandKeys, p.cfg.List.Roots = filepath.Join(p.dir, backend.CommandKeysFile), filepath.Join(p.dir, backend.RootKeysFile)
	p.boot(newClock())
	p.push(url, "uid,account\n04A1B2C3,r-1\n")
	p.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 && s.List.Keys == 0 })

	commands, err := backend.ReadKeys(filepath.Join(fresh, backend.CommandKeysFile))
	if err != nil {
		t.Fatal(err)
	}
	old := p.key
	p.key = key(fresh, backend.KeyFile)
	publisher, err := backend.OpenPublisher(filepath.Join(p.dir, "lists"), "l-1", b, p.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = publisher.Rotate(t.Context(), backend.RotateOpts{Root: key(p.dir, backend.RootKeyFile), Commands: &commands})
	publisher.Close()
	if err != nil {
		t.Fatal(err)
	}
	p.eventually("the new keys", func(s control.Status) bool { return s.List.Keys == 2 && s.List.Refused == 0 })

	for _, life := range []string{"at once", "after a restart"} {
		for who, dir := range map[string]string{"old": p.dir, "new": fresh} {
			r, err := backend.Order{Gateway: "gw-1", Command: "blink"}.Send(t.Context(), b, key(dir, backend.CommandKeyFile))
			if err != nil || r.OK != (who == "new") {
				t.Errorf("%s: a command by the %s key: got %+v, %v", life, who, r, err)
			}
		}
		p.stop()
		p.boot(newClock())
		p.eventually("the keys that were kept", func(s control.Status) bool { return s.List.Keys == 2 && s.Broker.Connected })
	}
	l, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "thief"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	topics := uplink.ListTopics("l-1")
	if err := l.Subscribe(t.Context(), topics.Keys(), topics.Head()); err != nil {
		t.Fatal(err)
	}
	var head uplink.Head
	for range 2 {
		m := <-l.Messages()
		m.Ack()
		if _, err := c.check(m.Topic, m.Payload); err != nil {
			t.Errorf("%s: %v", m.Topic, err)
		}
		if m.Topic == topics.Head() {
			if head, err = uplink.ParseHead(m.Payload, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}}, "l-1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	head.Version, head.Digest = 99, uplink.FirstDigest("l-1", 99)
	forged, err := uplink.SignHead(head, old)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(t.Context(), topics.Head(), true, forged); err != nil {
		t.Fatal(err)
	}
	p.eventually("the old key's head is refused", func(s control.Status) bool { return s.List.Refused == 1 && s.List.Version == 1 && s.List.Error != "" })
}
