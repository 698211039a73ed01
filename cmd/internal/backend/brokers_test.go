package backend_test

import (
	"context"
	"encoding/json"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/backend"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// Which brokers TestBrokers runs; make brokers names the others.
var brokers = flag.String("brokers", "mochi,mosquitto", "brokers to test against: mochi, mosquitto, nats, rabbitmq")

// TestBrokers is all that gateway and backend do with a broker, on each of them,
// with real stores on both sides. docs/brokers.md has what it found.
func TestBrokers(t *testing.T) {
	for kind := range strings.SplitSeq(*brokers, ",") {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			s := uplinktest.Start(t, kind)
			for _, c := range []struct {
				name string
				test func(*testing.T, *place)
			}{
				{"list", listComes},
				{"large", largeListComes},
				{"keys", keysAreRotated},
				{"ledger", recordsComeAndAreAcknowledged},
				{"commands", commandsAreAnswered},
				{"will", lossIsSaid},
				{"restart", restartIsSurvived},
				{"kill", killIsSurvived},
				{"forgets", forgettingIsRepaired},
			} {
				t.Run(c.name, func(t *testing.T) { c.test(t, newPlace(t, s, c.name)) })
			}
		})
	}
}

func listComes(t *testing.T, p *place) {
	p.gw.start()
	p.push(badges(0, 12_000)) // several chunks
	p.gw.until("the snapshot", 0, 12_000)
	p.push(badges(0, 12_001))
	p.gw.until("a delta", 0, 12_001)
	p.push(badges(1, 12_000))
	p.gw.until("a removal", 0, 12_000)

	away := p.gateway("gw-late")
	away.start()
	away.until("the list on a fresh card", 0, 12_000)
	away.stop()
	first := uplink.ListTopics(p.name).Index(p.head().Snapshot.Version)
	for n := range 3 { // the snapshot before the last is cleared
		p.push(badges(1, 12_001+n))
		p.compact()
	}
	p.gw.until("deltas while it compacts", 0, 12_003)
	away.start()
	away.until("the new snapshot after it was away", 0, 12_003)
	if got := p.kept(); got != 12_003 {
		t.Errorf("got %d badges on the broker, want 12003", got)
	}
	c := p.dial("look", first)
	select {
	case m := <-c.Messages():
		t.Errorf("got %d bytes of a piece that was cleared, want none", len(m.Payload))
	case <-time.After(time.Second):
	}
	p.gw.mu.Lock()
	defer p.gw.mu.Unlock()
	if len(p.gw.refused) > 0 {
		t.Errorf("got refusals %q, want none", p.gw.refused)
	}
}

func largeListComes(t *testing.T, p *place) {
	const n = 100_000
	began := time.Now()
	p.push(badges(0, n))
	pushed := time.Since(began)
	p.gw.start()
	began = time.Now()
	p.gw.until("the list", 0, n)
	t.Logf("%d badges: pushed in %v, fetched in %v", n, pushed.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if sent := p.repair(); sent != 0 {
		t.Errorf("got %d pieces repaired, want all there", sent)
	}
}

func keysAreRotated(t *testing.T, p *place) {
	p.gw.start()
	p.push(badges(0, 5))
	p.gw.until("the list", 0, 5)
	away := p.gateway("gw-away")
	old := p.key
	p.key = listKey(t)
	commands := publicOf(newKey(t, backend.CommandKeygen, backend.CommandKeyFile))
	p.publisher(func(pub *backend.Publisher) error {
		_, err := pub.Rotate(t.Context(), backend.RotateOpts{Root: p.root, Commands: &commands})
		return err
	})
	p.push(badges(0, 6))
	p.gw.until("a version by the new key", 2, 6)
	away.o.Keys = publicOf(old)
	away.start()
	away.until("it, with the old key on the card", 2, 6)
}

func recordsComeAndAreAcknowledged(t *testing.T, p *place) {
	dir := filepath.Join(p.dir, "records")
	stop := p.receive(dir)
	p.gw.start()
	p.book(50)
	p.acknowledged("what was sent at once")
	stop()
	p.book(1100) // more than Mosquitto queues
	until(t, "the broker takes them", func() bool { o, _ := p.gw.ledger.Outbox(t.Context()); return o.Taken == o.End })
	stop = p.receive(dir)
	p.acknowledged("what came while the backend was away")
	p.gw.stop()
	p.book(10)
	p.gw.start()
	p.acknowledged("what was booked without a broker")
	stop()
	p.gw.stop()
}

func commandsAreAnswered(t *testing.T, p *place) {
	key := newKey(t, backend.CommandKeygen, backend.CommandKeyFile)
	p.gw.o.Commands = uplink.Commands{
		Keys:  publicOf(key),
		Spend: func(_ context.Context, id string) (bool, error) { return true, nil },
		Handle: func(_ context.Context, c uplink.Command, answer func(uplink.Reply)) {
			answer(uplink.Reply{OK: c.Command == "blink"})
		},
	}
	p.gw.start()
	until(t, "connected", func() bool { return !p.gw.client.Offline() })
	for _, name := range []string{"blink", "stop"} {
		var r uplink.Reply
		var err error
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // until the status is there
			if r, err = (backend.Order{Gateway: p.gw.o.Gateway, Command: name}).Send(t.Context(), p.Broker(), key); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil || r.OK != (name == "blink") || r.ID == "" {
			t.Errorf("%s: got %+v, %v, want an answer", name, r, err)
		}
	}
}

// lossIsSaid is about the last will, retained.
func lossIsSaid(t *testing.T, p *place) {
	topic := uplink.GatewayTopics(p.gw.o.Gateway).Online()
	online := func(want bool) func(uplink.Incoming) bool {
		return func(m uplink.Incoming) bool {
			var got struct{ Online *bool }
			return m.Topic == topic && json.Unmarshal(m.Payload, &got) == nil && got.Online != nil && *got.Online == want
		}
	}
	watch := p.dial("watch", topic)
	w := newWire(t, p.Addr)
	p.gw.o.Broker.URL = "tcp://" + w.l.Addr().String()
	p.gw.start()
	p.heard(watch, "online", online(true))
	p.heard(p.dial("later", topic), "online, for who comes later", online(true))
	w.cut()
	p.heard(watch, "offline, by the will", online(false))
	p.heard(p.dial("latest", topic), "offline, for who comes later", online(false))
}

func restartIsSurvived(t *testing.T, p *place) {
	p.atWork()
	p.Stop()
	p.away(5)
	p.again()
	sent := p.repair()
	t.Logf("%d pieces were lost in a restart", sent)
	p.after()
}

func killIsSurvived(t *testing.T, p *place) {
	p.atWork()
	p.Kill()
	p.away(5)
	p.again()
	sent := p.repair()
	t.Logf("%d pieces were lost when the broker was killed", sent)
	p.after()
}

func forgettingIsRepaired(t *testing.T, p *place) {
	p.atWork()
	p.Stop()
	p.Forget()
	p.away(5)
	p.again()
	if sent := p.repair(); sent < 2 {
		t.Errorf("got %d pieces repaired, want index and chunk at least", sent)
	}
	p.after()
}
