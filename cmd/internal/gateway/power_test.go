package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cache"
	"badged/cmd/internal/control"
	"badged/session"
)

const chargerConfig = houseConfig + `[[station]]
id = "garage"
kind = "charging"
reader = "hall"
relay = "GPIO17"
resume_within = "15m"
resume_wait = "5m"
`

// power is a house whose power is cut: each boot has a clock of its own.
type power struct {
	*house
	g    *gateway
	stop func()
}

func newPower(t *testing.T) *power {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	p := &power{house: newHouseOf(t, chargerConfig, broker), stop: func() {}}
	p.push(broker, "uid,account\n04A1B2C3,r-1\n")
	return p
}

// boot starts the gateway by a clock; off opens the relay as a power cut does.
func (p *power) boot(c *clock) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	p.g = newGateway(p.cfg, p.hw, slog.New(slog.DiscardHandler), c)
	go func() { done <- p.g.work(ctx) }()
	p.stop = func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("gateway ended: %v", err)
		}
		p.stop = func() {}
	}
	p.t.Cleanup(func() { p.stop() })
	p.eventually("an open door", func(s control.Status) bool { return s.Clock.BootID == c.bootID && p.working(s) })
}

func (p *power) off() {
	p.stop()
	p.hw.mu.Lock()
	defer p.hw.mu.Unlock()
	p.hw.on, p.hw.moves = false, 0
}

// records are the ledger's after the gateway has stopped.
func (p *power) records() (out []record) {
	p.t.Helper()
	p.stop()
	l, err := cache.OpenLedger(filepath.Join(p.cfg.State, "ledger.db"), cache.LedgerOpts{
		Gateway: p.cfg.ID, Stamp: func() session.Stamp { return session.Stamp{BootID: "reader"} },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	// What no broker has taken would come alone: take it, then ask for all again.
	for {
		fresh, err := l.Unsent(p.t.Context(), 100)
		if err != nil {
			p.t.Fatal(err)
		}
		if len(fresh) == 0 {
			break
		}
		last := fresh[len(fresh)-1]
		if err := l.Taken(p.t.Context(), last.Ledger, last.Seq); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := l.Rewind(p.t.Context(), 1, 0); err != nil {
		p.t.Fatal(err)
	}
	all, err := l.Unsent(p.t.Context(), 100)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range all {
		var r record
		if err := json.Unmarshal(m.Record, &r); err != nil {
			p.t.Fatal(err)
		}
		r.time = string(m.Time)
		out = append(out, r)
	}
	return out
}

// anchors are the ClockAnchors for one reason.
func (p *power) anchors(why string) (out []record) {
	p.t.Helper()
	for _, r := range p.records() {
		if r.Type == "ClockAnchor" && r.Why == why {
			out = append(out, r)
		}
	}
	return out
}

type record struct {
	Type, EventType, StoppedReason, Why, Source string
	Seconds                                     int64
	Review                                      []session.Review
	At                                          session.Stamp
	time                                        string // the advice beside it
}

// sessionWithCut charges for a while before the power goes at noon.
func sessionWithCut(t *testing.T) *power {
	t.Parallel()
	p := newPower(t)
	c, h := boot("boot-1", noon.Add(-time.Hour))
	p.boot(c)
	p.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
	if got := p.decide("04A1B2C3"); got.Status != "Accepted" {
		t.Fatalf("got %+v, want a start", got)
	}
	h.sync(noon)
	p.off()
	return p
}

func (p *power) relayIs(want bool) {
	p.t.Helper()
	p.eventually("relay of garage", func(s control.Status) bool {
		on, _ := p.hw.relay()
		return s.Stations[0].Relay == want && on == want
	})
}

func TestSessionGoesOnAfterAShortPowerCut(t *testing.T) {
	p := sessionWithCut(t)
	c, _ := boot("boot-2", noon.Add(10*time.Minute))
	p.boot(c)
	p.relayIs(true)
	p.eventually("the session in use again", func(s control.Status) bool {
		g := s.Stations[0]
		return g.TransactionID != "" && !g.Recovering && len(g.Review) == 1 && g.Review[0] == session.ReviewPowerLoss
	})
}

func TestSessionEndsAfterALongPowerCut(t *testing.T) {
	p := sessionWithCut(t)
	c, _ := boot("boot-2", noon.Add(time.Hour))
	p.boot(c)
	p.relayIs(false)
	all := p.records()
	if last := all[len(all)-1]; last.StoppedReason != "PowerLoss" && all[len(all)-2].StoppedReason != "PowerLoss" {
		t.Errorf("got %+v at last, want PowerLoss", last)
	}
	if _, moves := p.hw.relay(); moves != 0 {
		t.Errorf("got %d moves of the relay, want none", moves)
	}
}

func TestSessionWaitsForAClock(t *testing.T) {
	for name, tc := range map[string]struct {
		off    time.Duration // 0 is a clock that never comes
		resume bool
	}{
		"that says it was short": {10 * time.Minute, true},
		"that says it was long":  {time.Hour, false},
		"that never comes":       {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := sessionWithCut(t)
			c, h := boot("boot-2", time.Time{})
			p.boot(c)
			p.eventually("recovery with the relay off", func(s control.Status) bool {
				on, _ := p.hw.relay()
				return s.Stations[0].Recovering && !on && s.Clock.Clock == session.ClockUnknown
			})
			if tc.off > 0 {
				h.sync(noon.Add(tc.off))
			} else {
				h.pass(5 * time.Minute)
			}
			p.eventually("the decision", func(s control.Status) bool { return !s.Stations[0].Recovering })
			p.relayIs(tc.resume)
			p.eventually("the session's end, or none", func(s control.Status) bool { return (s.Stations[0].TransactionID != "") == tc.resume })
		})
	}
}

func TestLedgerIsTiedToTheClock(t *testing.T) {
	t.Parallel()
	p := newPower(t)
	c, h := boot("boot-1", time.Time{})
	p.boot(c)
	p.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
	p.decide("04A1B2C3") // before anybody knows the time
	h.sync(noon)
	p.eventually("a clock", func(s control.Status) bool { return s.Ledger.End == 3 })
	h.sync(noon.Add(time.Hour))
	p.eventually("a step", func(s control.Status) bool { return s.Ledger.End == 4 })
	h.pass(25 * time.Hour)
	p.eventually("another day", func(s control.Status) bool { return s.Ledger.End >= 5 })
	var why string
	all := p.records()
	for _, r := range all {
		if r.EventType == "Updated" {
			continue // the quarters of the hours that passed
		}
		why += " " + r.Type + r.EventType + r.Why
		if r.Type == "ClockAnchor" && r.Source != "timesyncd" {
			t.Errorf("got source %q, want timesyncd", r.Source)
		}
	}
	if want := " LedgerOpenednew TransactionEventStarted ClockAnchorfirst ClockAnchorstep ClockAnchordaily"; !strings.HasPrefix(why, want) {
		t.Errorf("got%s, want%s", why, want)
	}
	if started := all[1]; started.At.Clock != session.ClockUnknown || !strings.HasPrefix(started.time, `{"wall":"2027-03-01T1`) {
		t.Errorf("got clock %s, advice %s of the start, want unknown then and known now", started.At.Clock, started.time)
	}

	// A restart of the daemon is no first synchronisation.
	p.boot(c)
	h.pass(2 * time.Second)
	p.eventually("housekeeping", func(s control.Status) bool {
		return s.Clock.Clock == session.ClockSynced && s.Ledger.End >= uint64(len(all))
	})
	if n := len(p.anchors("first")); n != 1 {
		t.Errorf("got %d first synchronisations of a boot with two daemons, want 1", n)
	}

	// The last good time survives into a boot without a clock.
	c, _ = boot("boot-2", time.Time{})
	p.boot(c)
	if got := c.Now(); got.Before(noon) {
		t.Errorf("got %v for certificates in the next boot, want at least %v", got, noon)
	}
}
