package gateway

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"periph.io/x/conn/v3/i2c"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/reader/readertest"
	"badged/session"
	"badged/station"
	"badged/uplink"
)

// bench is hardware for one reader, a washer without a meter and a relay.
type bench struct {
	chip  *readertest.Chip
	board []control.Check // what Examine says

	mu     sync.Mutex
	noChip error
	on     bool
	moves  int
	moving func(on bool) // is told before the relay moves
}

func (b *bench) Chip(config.Reader) (Chip, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Chip{Port: b.chip.Port(), Reset: b.chip.ResetPin()}, b.noChip
}

func (b *bench) Output(w Wire, on bool) (station.Output, error) { return b, b.Set(on) }
func (b *bench) Input(string) (station.Input, error)            { return nil, errors.New("no inputs here") }
func (b *bench) Display(string) (i2c.BusCloser, error)          { return nil, errors.New("no display here") }
func (b *bench) Examine(config.Config) []control.Check          { return b.board }
func (b *bench) Close() error                                   { return nil }

func (b *bench) Set(on bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on != b.on {
		if b.moving != nil {
			b.moving(on)
		}
		b.on = on
		b.moves++
	}
	return nil
}

func (b *bench) relay() (on bool, moves int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.on, b.moves
}

// houseConfig is what every config here begins with: all but the stations.
const houseConfig = `
[gateway]
id = "gw-1"
site = "s-1"
billing = "managed"
state = "state"
[broker]
url = "tcp://127.0.0.1:1"
retry_min = "20ms"
retry_max = "100ms"
[list]
name = "l-1"
keys = "list-keys.jwks"
[[reader]]
name = "hall"
spi = "/dev/spidev0.0"
`

const benchConfig = houseConfig + `[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO17"
run_time = "1h"
`

// house is a gateway with its bench and its folder.
type house struct {
	t    testing.TB
	dir  string
	hw   *bench
	cfg  config.Config
	key  jose.JSONWebKey
	ctl  *control.Client
	ends chan error
	deaf bool // the reader does not work at the start
}

func newHouse(t testing.TB, broker string) *house {
	t.Helper()
	return newHouseOf(t, benchConfig, broker)
}

func newHouseOf(t testing.TB, doc, broker string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), hw: &bench{chip: readertest.New(readertest.Opts{RealTime: true})}, ends: make(chan error, 1)}
	if err := backend.Keygen(h.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.key, err = backend.ReadKey(filepath.Join(h.dir, backend.KeyFile)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.dir, "badged.toml")
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if h.cfg, err = config.Load(path); err != nil {
		t.Fatal(err)
	}
	if h.cfg.Broker.URL, err = url.Parse(broker); err != nil {
		t.Fatal(err)
	}
	h.cfg.Socket = filepath.Join(h.dir, "c.sock")
	h.ctl = control.NewClient(h.cfg.Socket)
	return h
}

// start runs the gateway until the test ends, which must go well.
func (h *house) start() {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	go func() { h.ends <- Run(ctx, h.cfg, h.hw, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	h.t.Cleanup(func() {
		stop()
		select {
		case err := <-h.ends:
			if err != nil {
				h.t.Errorf("gateway ended: %v", err)
			}
		case <-time.After(time.Minute):
			h.t.Error("gateway did not stop within a minute")
		}
	})
	h.eventually("an open door", h.working)
}

// working tells that the door is open and that the reader reads, unless it is not
// meant to: a badge that lies there when it begins to is not shown.
func (h *house) working(s control.Status) bool {
	return h.deaf || !slices.ContainsFunc(s.Readers, func(r control.ReaderStatus) bool { return r.State != "ready" })
}

func (h *house) eventually(what string, holds func(control.Status) bool) {
	h.t.Helper()
	var s control.Status
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s = control.Status{}
		if err = h.ctl.Get(h.t.Context(), "/v1/status", &s); err == nil && holds(s) {
			return
		}
	}
	h.t.Fatalf("%s did not come; last: %v %+v", what, err, s)
}

// decide taps a badge and returns what was decided.
func (h *house) decide(uid string) (got control.Event) {
	h.t.Helper()
	h.tap(func(e control.Event) bool { got = e; return e.Kind == "decision" }, virtual(h.t, "classic-1k", uid))
	return got
}

func (h *house) push(broker, csv string) {
	h.t.Helper()
	h.pushTo(backend.BrokerOpts{URL: broker}, csv)
}

func (h *house) pushTo(broker backend.BrokerOpts, csv string) {
	h.t.Helper()
	entries, err := backend.ReadCSV(strings.NewReader(csv))
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := backend.OpenPublisher(filepath.Join(h.dir, "lists"), "l-1", broker, h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	defer p.Close()
	p.Settle = 300 * time.Millisecond
	if _, err := p.Push(h.t.Context(), entries, backend.PushOpts{}); err != nil {
		h.t.Fatal(err)
	}
}

// mqttBroker is a broker of somebody else's, for users that rules allow.
func mqttBroker(t testing.TB, hook mqtt.Hook, options any) string {
	t.Helper()
	return mqttBrokerAt(t, "127.0.0.1:0", hook, options)
}

func mqttBrokerAt(t testing.TB, address string, hook mqtt.Hook, options any) string {
	t.Helper()
	_, url := mqttServer(t, address, hook, options)
	return url
}

func mqttServer(t testing.TB, address string, hook mqtt.Hook, options any) (*mqtt.Server, string) {
	t.Helper()
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(hook, options); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: address})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, "tcp://" + l.Address()
}

// nowhere is a broker that is not there.
const nowhere = "tcp://127.0.0.1:1"

func TestTapDecidesWithoutAnyBroker(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	if got := h.decide("04A1B2C3"); got.Reason != string(session.NoList) || got.Type != "classic-1k" {
		t.Errorf("got %+v, want NoList", got)
	}
}

func TestDeadBusIsAStateNotAnEnd(t *testing.T) {
	for _, kind := range []string{"miso00", "misoff"} {
		t.Run(kind, func(t *testing.T) {
			h := newHouse(t, nowhere)
			f, err := readertest.ParseFault(kind)
			if err != nil {
				t.Fatal(err)
			}
			f.For = time.Hour
			h.hw.chip.Inject(f)
			h.deaf = true
			h.start()
			h.eventually("reader lost, with its reason", func(s control.Status) bool {
				return len(s.Faults) > 0 && strings.HasPrefix(s.Faults[0], "reader hall: ") && s.Readers[0].Error != ""
			})
			h.hw.chip.Clear()
			h.eventually("reader back", func(s control.Status) bool { return len(s.Faults) == 0 })
			if got := h.decide("04A1B2C3"); got.Reason != string(session.NoList) {
				t.Errorf("got %+v, want a decision again", got)
			}
		})
	}
}

func TestMissingDeviceIsOpenedWhenItComes(t *testing.T) {
	h := newHouse(t, nowhere)
	h.hw.noChip = errors.New("no /dev/spidev0.0")
	h.deaf = true
	h.start()
	h.eventually("the missing device in the status", func(s control.Status) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == "lost" && strings.Contains(s.Readers[0].Error, "spidev0.0")
	})
	h.hw.mu.Lock()
	h.hw.noChip = nil
	h.hw.mu.Unlock()
	h.eventually("reader ready", func(s control.Status) bool { return s.Readers[0].State == "ready" })
}

func TestWrongListMessagesChangeNothing(t *testing.T) {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	h := newHouse(t, broker)
	h.start()
	h.push(broker, "uid,account\n04A1B2C3,r-1\n")
	h.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })

	_, forged, _ := ed25519.GenerateKey(nil)
	head, err := uplink.SignHead(uplink.Head{
		List: "l-1", Epoch: 9, Version: 1, DeltasFrom: 1, Snapshot: uplink.Snapshot{Version: 1}, IssuedAt: time.Now(),
	}, jose.JSONWebKey{Key: forged, KeyID: h.key.KeyID, Algorithm: "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.Dial(t.Context(), uplink.Broker{URL: broker}, uplink.Session{ClientID: "forger"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, payload := range [][]byte{head, []byte("{}"), []byte("a.b.c"), {0xFF, 0x00}, make([]byte, 70_000)} {
		if err := c.Publish(t.Context(), uplink.ListTopics("l-1").Head(), true, payload); err != nil {
			t.Fatal(err)
		}
		h.eventually("the refusal", func(s control.Status) bool { return s.List.Refused == uint64(i+1) && s.List.Error != "" })
	}
	if got := h.decide("04A1B2C3"); got.Status != "Accepted" || got.Station != "washer" {
		t.Errorf("got %+v, want the list in force to stay", got)
	}
	if on, moves := h.hw.relay(); !on || moves != 1 {
		t.Errorf("relay %t after %d moves, want on after 1", on, moves)
	}
}

func TestRefusedCredentialsAreSaid(t *testing.T) {
	rules := &auth.Options{Ledger: &auth.Ledger{Auth: auth.AuthRules{{Username: "somebody", Allow: true}}}}
	h := newHouse(t, mqttBroker(t, new(auth.Hook), rules))
	h.start()
	h.eventually("what to check", func(s control.Status) bool {
		return !s.Broker.Connected && s.Broker.Attempts > 1 && strings.Contains(s.Broker.Error, `user "gw-1"`)
	})
	h.decide("04A1B2C3") // it works all the same
}

func TestStateFolderThatCannotBeWritten(t *testing.T) {
	h := newHouse(t, nowhere)
	file := filepath.Join(h.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.cfg.State = filepath.Join(file, "state")
	err := Run(t.Context(), h.cfg, h.hw, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), h.cfg.State) || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("got %v, want the folder and a hint", err)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	second := h.cfg
	second.Socket += "2"
	err := Run(t.Context(), second, h.hw, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want the other process named", err)
	}
}

func TestCardsThatLeaveAtAnyMoment(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	card := virtual(t, "classic-1k", "04A1B2C3")
	for i := range 60 {
		h.hw.put(card)
		time.Sleep(time.Duration(i) * time.Millisecond / 4)
		h.hw.take(card)
	}
	h.eventually("an empty field", func(s control.Status) bool { return s.Readers[0].Health.Held == 0 })
	if got := h.decide("30949AD1"); got.UID != "3094…D1" {
		t.Errorf("got %+v, want a decision about the card that stayed", got)
	}
}

func TestStatusIsWhatTheBrokerGets(t *testing.T) {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	h := newHouse(t, broker)
	h.start()
	c, err := uplink.Dial(t.Context(), uplink.Broker{URL: broker}, uplink.Session{ClientID: "backend"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Subscribe(t.Context(), uplink.GatewayTopics("gw-1").Status()); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-c.Messages():
		var s control.Status
		if err := json.Unmarshal(m.Payload, &s); err != nil || s.Gateway != "gw-1" || s.Ledger.End < 1 || s.Nonce == "" || len(s.Stations) != 1 {
			t.Errorf("got %s: %v", m.Payload, err)
		}
	case <-time.After(time.Minute):
		t.Error("no status within a minute")
	}
}

func TestListThatIsTooOldIsSaid(t *testing.T) {
	g := &gateway{cfg: config.Config{List: config.List{MaxAge: 24 * time.Hour}}}
	v := session.ListVersion{IssuedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	at := func(wall time.Duration, up time.Duration, q session.ClockQuality) session.Stamp {
		return session.Stamp{Wall: v.IssuedAt.Add(wall), Up: up, Clock: q}
	}
	for _, tc := range []struct {
		what string
		now  session.Stamp
		warn bool
	}{
		{"young by the clock", at(23*time.Hour, 90*time.Hour, session.ClockSynced), false},
		{"old by the clock", at(25*time.Hour, time.Hour, session.ClockSynced), true},
		{"clock unknown, not long up", at(9000*time.Hour, time.Hour, session.ClockUnknown), false},
		{"clock unknown, long without a head", at(0, 25*time.Hour, session.ClockUnknown), true},
	} {
		if got := g.staleList(v, tc.now); (len(got) > 0) != tc.warn {
			t.Errorf("%s: got %q, want a warning: %t", tc.what, got, tc.warn)
		}
	}
}

// Damaged files at the start are put aside and said; taps go on.
func TestT9_DamagedDatabasesDoNotKeepTheDoorShut(t *testing.T) {
	h := newHouse(t, nowhere)
	if err := os.MkdirAll(h.cfg.State, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledger.db", "list.db"} {
		if err := os.WriteFile(filepath.Join(h.cfg.State, name), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.start()
	h.eventually("the files put aside in the status", func(s control.Status) bool {
		return len(s.Faults) > 0 && strings.Contains(strings.Join(s.Faults, " "), "damaged")
	})
	if got := h.decide("04A1B2C3"); got.Reason != string(session.NoList) {
		t.Errorf("got %+v, want a decision", got)
	}
}

// A badge left on the reader must not act when the gateway comes back.
func TestBadgeThatWasLeftDoesNotActAtAStart(t *testing.T) {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	h := newHouse(t, broker)
	h.push(broker, "uid,account\n04A1B2C3,r-1\n")
	card := virtual(t, "classic-1k", "04A1B2C3")
	h.hw.put(card)
	h.start()
	h.eventually("the list and the badge", func(s control.Status) bool { return s.List.Version == 1 && s.Readers[0].Health.Held == 1 })
	h.hw.take(card)
	h.eventually("an empty field", func(s control.Status) bool { return s.Readers[0].Health.Held == 0 })
	if on, moves := h.hw.relay(); on || moves != 0 {
		t.Errorf("relay %t after %d moves, want none", on, moves)
	}
	if got := h.decide("04A1B2C3"); got.Status != "Accepted" || got.TransactionID == "" {
		t.Errorf("got %+v, want a start once it is shown", got)
	}
}
