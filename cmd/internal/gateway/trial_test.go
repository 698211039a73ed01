package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cache"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/provision"
	"badged/session"
)

// A fresh card knows from its provisioning which lists are past.
func TestListBelowTheProvisionedHeadIsRefused(t *testing.T) {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	h := newHouse(t, broker)
	h.push(broker, "uid\n04A1B2C3\n") // version 1.1
	h.cfg.List.Head = config.Head{Epoch: 1, Version: 2}
	h.start()
	h.eventually("a refusal of 1.1", func(s control.Status) bool { return s.List.Refused > 0 && s.List.Version == 0 })
	h.push(broker, "uid\n04A1B2C3\n04A1B2C4\n") // version 1.2
	h.eventually("list 1.2", func(s control.Status) bool { return s.List.Version == 2 })
}

// card is a house whose configuration is provisioned, below a root of its own.
type card struct {
	*house
	root string
	hand *hands
	over chan error // how the run ended
	stop func()
}

func newCard(t *testing.T) *card {
	c := &card{house: newHouse(t, nowhere), root: t.TempDir(), stop: func() {}}
	for name, text := range map[string]string{
		"etc/passwd": "badged:x:997:996::/:/bin/false\n", "etc/group": "badged:x:996:\n",
		"proc/device-tree/serial-number": "10000000abcd\x00", "proc/sys/kernel/random/boot_id": "boot-1\n",
		"boot/firmware/config.txt": "", "etc/badged/.keep": "", "var/lib/badged/.keep": "",
	} {
		path := filepath.Join(c.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// provision puts a file for this broker and relay onto the card, and starts the board.
func (c *card) provision(broker, relay string) provision.Report {
	c.t.Helper()
	template := strings.NewReplacer(`state = "state"`, `state = "/var/lib/badged"`, nowhere, broker, "GPIO17", relay).Replace(benchConfig)
	path := filepath.Join(c.dir, "template.toml")
	if err := os.WriteFile(path, []byte(template), 0o644); err != nil {
		c.t.Fatal(err)
	}
	made, err := provision.Maker{Template: path, Now: noon}.Make([]provision.Order{{}})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.root, "boot/firmware", provision.FileName), made[0].Doc, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c.oneshot()
}

// oneshot is what systemd runs before each start of the daemon.
func (c *card) oneshot() provision.Report {
	c.t.Helper()
	b, err := provision.OpenBoard(c.root)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := b.Boot(false)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, r.Text)
	}
	return r
}

// start runs the daemon by the configuration that it finds.
func (c *card) start() {
	c.t.Helper()
	cfg, err := config.Load(filepath.Join(c.root, "etc/badged/badged.toml"))
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.State, cfg.Socket = filepath.Join(c.root, cfg.State), c.cfg.Socket
	c.cfg, c.over = cfg, make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	clk, hand := boot("boot1", noon)
	clk.bootID, c.hand = "boot-1", hand
	go func() { c.over <- runWith(ctx, cfg, c.hw, slog.New(slog.DiscardHandler), clk) }()
	c.stop = func() {
		cancel()
		if err := <-c.over; err != nil {
			c.t.Errorf("gateway ended: %v", err)
		}
		c.stop = func() {}
	}
	c.t.Cleanup(func() { c.stop() })
	c.eventually("an open door", c.working)
}

// gaveUp waits for the end of the run, which must be for the trial's sake.
func (c *card) gaveUp() {
	c.t.Helper()
	select {
	case err := <-c.over:
		c.stop = func() {}
		if !errors.Is(err, ErrTrialOver) {
			c.t.Fatalf("got %v, want the trial to be over", err)
		}
	case <-time.After(time.Minute):
		c.t.Fatal("the trial is not over")
	}
}

// goesOn looks for some turns of the trial whether the run goes on.
func (c *card) goesOn() {
	c.t.Helper()
	for range 3 {
		select {
		case err := <-c.over:
			c.stop = func() {}
			c.t.Fatalf("the gateway ended: %v", err)
		case <-time.After(keepEvery):
		}
	}
}

func (c *card) connected(url string) {
	c.t.Helper()
	c.eventually("a connection to "+url, func(s control.Status) bool { return s.Broker.Connected && s.Broker.URL == url })
}

func TestReplacementFallsBackToTheBrokerThatAnswers(t *testing.T) {
	t.Parallel()
	c, old := newCard(t), mqttBroker(t, new(auth.AllowHook), nil)
	c.provision(old, "GPIO17")
	c.start()
	c.connected(old)
	c.stop()
	c.provision(nowhere, "GPIO17")
	c.start()
	c.hand.pass(14 * time.Minute)
	c.goesOn()
	c.hand.pass(2 * time.Minute)
	c.gaveUp()
	if r := c.oneshot(); r.State.Outcome != provision.FellBack {
		t.Fatalf("got %+v, want it to fall back", r)
	}
	c.start()
	c.connected(old)
	c.eventually("why", func(s control.Status) bool {
		return strings.Contains(strings.Join(s.Faults, "\n"), "provisioning: back to the configuration before") && s.Board == "10000000abcd"
	})
	text, err := os.ReadFile(filepath.Join(c.root, "boot/firmware", provision.ResultName))
	if err != nil || !strings.Contains(string(text), "WENT BACK") || !strings.Contains(string(text), "connection refused") {
		t.Errorf("got %v and\n%s\nwant why", err, text)
	}
}

func TestReplacementIsTriedOnWhileNoBrokerAnswers(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c.provision(nowhere, "GPIO17")
	c.provision("tcp://"+address, "GPIO17")
	c.start()
	for range 3 {
		c.hand.pass(20 * time.Minute)
		c.goesOn()
	}
	c.connected(mqttBrokerAt(t, address, new(auth.AllowHook), nil))
	c.eventually("the end of the trial", func(control.Status) bool {
		on, err := provision.OpenTrial(c.cfg.File, c.cfg.State)
		return err == nil && on == nil
	})
	c.hand.pass(time.Hour)
	c.goesOn()
	c.stop()
	if r := c.oneshot(); r.State.Outcome != provision.Installed {
		t.Errorf("got %+v, want the new configuration to stay", r)
	}
}

func TestFirstConfigurationIsTriedForEver(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	c.provision(nowhere, "GPIO17")
	c.start()
	c.hand.pass(100 * time.Hour)
	c.goesOn()
}

// A power cut begins the fifteen minutes anew, and loses no verdict.
func TestTrialAcrossRestarts(t *testing.T) {
	t.Parallel()
	c, old := newCard(t), mqttBroker(t, new(auth.AllowHook), nil)
	c.provision(old, "GPIO17")
	c.provision(nowhere, "GPIO17")
	for range 2 {
		c.start()
		c.hand.pass(14 * time.Minute)
		c.goesOn()
		c.stop()
		c.oneshot()
	}
	c.start()
	c.hand.pass(16 * time.Minute)
	c.gaveUp()
	c.start() // without the oneshot: the new configuration, and no end of it again and again
	c.hand.pass(time.Hour)
	c.goesOn()
	c.stop()
	if r := c.oneshot(); r.State.Outcome != provision.FellBack {
		t.Errorf("got %+v, want the verdict to hold", r)
	}
}

func TestFallingBackMovesNoRelayUnderASession(t *testing.T) {
	t.Parallel()
	c, old := newCard(t), mqttBroker(t, new(auth.AllowHook), nil)
	c.provision(old, "GPIO17")
	c.provision(nowhere, "GPIO27") // another line than the one before
	state := filepath.Join(c.root, "var/lib/badged")
	list, err := cache.OpenList(filepath.Join(state, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, list, []session.Entry{{UID: "04A1B2C3", Status: session.Accepted}})
	if err := list.Close(); err != nil {
		t.Fatal(err)
	}
	c.start()
	if got := c.decide("04A1B2C3"); got.Status != "Accepted" {
		t.Fatalf("got %+v, want a start", got)
	}
	_, moved := c.hw.relay()
	c.hand.pass(20 * time.Minute)
	c.goesOn()
	if on, moves := c.hw.relay(); !on || moves != moved {
		t.Errorf("got relay %t after %d moves, want it as the session has it", on, moves)
	}
	for range 20 { // until run_time and door_release are over, and the other broker is asked once more
		c.hand.pass(10 * time.Minute)
		time.Sleep(keepEvery)
		if len(c.over) > 0 {
			break
		}
	}
	c.gaveUp()
}
