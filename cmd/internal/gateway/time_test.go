package gateway

import (
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
	"badged/session"
)

// tapped shows the badge of the power tests and wants something done.
func (p *power) tapped(want session.Action) {
	p.t.Helper()
	before := 0
	if _, before = p.hw.relay(); want == session.ActionNone {
		p.t.Fatal("nothing to wait for")
	}
	if got := p.decide("04A1B2C3"); got.Status != "Accepted" {
		p.t.Fatalf("got %+v, want %s", got, want)
	}
	if on, moves := p.hw.relay(); on != (want == session.ActionStart) || moves != before+1 {
		p.t.Fatalf("got relay %t after %d moves, want %s", on, moves-before, want)
	}
}

// anchored does something that makes an anchor due, and waits for it.
func (p *power) anchored(do func()) {
	p.t.Helper()
	last := func() time.Duration {
		a, _, err := p.g.ledger.LastAnchor(p.g.clock.bootID)
		if err != nil {
			p.t.Fatal(err)
		}
		return a.At.Up
	}
	before := last()
	do()
	p.eventually("an anchor", func(control.Status) bool { return last() != before })
}

// listed is a house that has its list and has been switched off again.
func listed(t *testing.T, id string) *power {
	t.Helper()
	t.Parallel()
	p := newPower(t)
	c, _ := boot(id, time.Time{})
	p.boot(c)
	p.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
	p.off()
	return p
}

func TestT8_ClockStepsByYearsInASession(t *testing.T) {
	for name, wrong := range map[string]time.Time{"to 2040": noon.AddDate(14, 0, 0), "to 2011": noon.AddDate(-16, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			p := listed(t, "boot-0")
			c, h := boot("boot-1", noon)
			p.boot(c)
			p.tapped(session.ActionStart)
			h.pass(30 * time.Minute)
			p.anchored(func() { h.sync(wrong) })
			h.pass(30 * time.Minute)
			p.anchored(func() { h.sync(noon.Add(time.Hour)) })
			h.pass(time.Minute)
			p.tapped(session.ActionStop)
			events := 0
			for _, r := range p.records() {
				if r.Type != "TransactionEvent" {
					continue
				}
				events++
				if wall := p.wall(r); wall.Before(noon.Add(-time.Minute)) || wall.After(noon.Add(2*time.Hour)) {
					t.Errorf("got %s for %s, want the time that the clock came back to", r.time, r.EventType)
				}
				if r.EventType == "Ended" && (r.Seconds < 61*60 || r.Seconds > 65*60) {
					t.Errorf("got a session of %d s, want 61 minutes and what the test took", r.Seconds)
				}
			}
			if events < 2 {
				t.Errorf("got %d events, want a session", events)
			}
			if steps := len(p.anchors("step")); steps != 2 {
				t.Errorf("got %d steps, want 2", steps)
			}
		})
	}
}

// wall is the advice beside a record.
func (p *power) wall(r record) time.Time {
	p.t.Helper()
	_, text, _ := strings.Cut(r.time, `"wall":"`)
	text, _, _ = strings.Cut(text, `"`)
	wall, err := time.Parse(time.RFC3339, text)
	if err != nil {
		p.t.Fatal(err)
	}
	return wall
}

func TestT8_ThreeBootsWithoutATime(t *testing.T) {
	p := listed(t, "boot-0")
	c, h := boot("boot-1", noon)
	p.boot(c)
	p.tapped(session.ActionStart)
	h.pass(time.Minute)
	p.tapped(session.ActionStop)
	p.off()
	for _, id := range []string{"boot-2", "boot-3", "boot-4"} {
		c, h := boot(id, time.Time{})
		p.boot(c)
		p.tapped(session.ActionStart) // nobody waits for a clock
		h.pass(10 * time.Minute)
		p.tapped(session.ActionStop)
		p.off()
	}
	c, _ = boot("boot-5", noon.Add(24*time.Hour))
	p.boot(c)
	p.tapped(session.ActionStart)
	p.off()
	blind := 0
	for _, r := range p.records() {
		switch {
		case r.Type != "TransactionEvent":
		case r.At.BootID == "boot-1" || r.At.BootID == "boot-5":
			if r.At.Clock != session.ClockSynced || strings.Contains(r.time, "notBefore") {
				t.Errorf("got %+v with %s in a boot that knew the time", r.At, r.time)
			}
		default:
			blind++
			if r.At.Clock != session.ClockUnknown || !strings.Contains(r.time, `"notBefore":"2027-03-01T12:`) || !strings.Contains(r.time, `"notAfter":"2027-03-02T1`) {
				t.Errorf("got clock %s, %s in %s, want unknown between noon and noon", r.At.Clock, r.time, r.At.BootID)
			}
			if r.EventType == "Ended" && (r.Seconds < 600 || r.Seconds > 700) {
				t.Errorf("got %d s, want the ten minutes that the boot counted", r.Seconds)
			}
		}
	}
	if blind < 6 {
		t.Errorf("got %d events of boots without a time, want three sessions", blind)
	}
}

func TestT8_FloorGoesDownToo(t *testing.T) {
	p := listed(t, "boot-0")
	c, h := boot("boot-1", noon.AddDate(14, 0, 0))
	p.boot(c)
	p.eventually("an anchor in 2041", func(s control.Status) bool { return s.Ledger.End >= 2 })
	p.off()
	c, _ = boot("boot-2", time.Time{})
	p.boot(c)
	if got := c.Now(); got.Year() != 2041 {
		t.Errorf("got %v for certificates, want the last time that was taken for good", got)
	}
	p.off()
	c, h = boot("boot-3", time.Time{})
	p.boot(c)
	p.anchored(func() { h.sync(noon) })
	p.off()
	c, _ = boot("boot-4", time.Time{})
	p.boot(c)
	if got := c.Now(); got.Year() != 2027 {
		t.Errorf("got %v for certificates after the clock was put right, want 2027", got)
	}
}

func TestT8_WrongRTC(t *testing.T) {
	p := listed(t, "boot-0")
	for _, tc := range []struct {
		rtc  time.Time
		want session.ClockQuality
	}{
		{noon.AddDate(-20, 0, 0), session.ClockUnknown}, // before any build of this software
		{noon.AddDate(3, 0, 0), session.ClockEstimated},
	} {
		c, h := boot("boot-"+string(tc.want), time.Time{})
		h.wall = tc.rtc
		p.boot(c)
		p.eventually("the clock's quality", func(s control.Status) bool { return s.Clock.Clock == tc.want })
		p.tapped(session.ActionStart)
		p.anchored(func() { h.sync(noon) })
		h.pass(time.Minute)
		p.tapped(session.ActionStop)
		p.off()
	}
	for _, r := range p.records() {
		if wall := p.wall(r); r.Type == "TransactionEvent" && (wall.Before(noon.Add(-time.Hour)) || wall.After(noon.Add(time.Hour))) {
			t.Errorf("got %s for %s, want the time that was learnt in its boot", r.time, r.EventType)
		}
	}
}

// A daemon that is restarted when the kernel has long forgotten that it was
// synchronised knows it from the ledger.
func TestT8_RestartKeepsTheClock(t *testing.T) {
	p := listed(t, "boot-0")
	c, h := boot("boot-1", noon)
	p.boot(c)
	p.eventually("an anchor", func(s control.Status) bool { return s.Ledger.End >= 2 })
	p.stop()
	h.mu.Lock()
	h.synced = false
	h.mu.Unlock()
	again := &clock{bootID: c.bootID, floor: builtAfter, up: c.up, wall: c.wall, source: c.source, chrony: c.chrony}
	p.boot(again)
	p.eventually("a clock", func(s control.Status) bool { return s.Clock.Clock == session.ClockSynced })
	if n := len(p.anchors("first")); n != 1 {
		t.Errorf("got %d first synchronisations, want 1", n)
	}
}

// What chrony sets the sandbox hides; it is asked.
func TestT8_ChronyIsAsked(t *testing.T) {
	p := listed(t, "boot-0")
	c, h := boot("boot-1", time.Time{})
	p.boot(c)
	h.mu.Lock()
	h.wall, h.chrony = noon, true
	h.mu.Unlock()
	h.pass(chronyEvery)
	p.eventually("a clock", func(s control.Status) bool { return s.Clock.Clock == session.ClockSynced })
	first := p.anchors("first")
	if len(first) != 1 || first[0].Source != "chrony" {
		t.Errorf("got %+v, want one anchor by chrony", first)
	}
}
