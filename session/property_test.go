package session_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"badged/session"
)

// anyone is a gateway to which anything happens, with a meter each that nobody
// can reset and that counts only what flows through a closed relay.
type anyone struct {
	*desk
	r        *rand.Rand
	register map[string]session.MilliWattHours // true ones
	watts    map[string]float64
	badges   []session.IDToken
}

func newAnyone(t *testing.T, seed uint64) *anyone {
	washer, private := station(session.Laundry, "washer"), station(session.Charging, "private")
	dryer, garage := station(session.Laundry, "dryer"), station(session.Charging, "garage")
	private.Private, private.Plug, private.Reader, garage.Reader = true, true, "yard", "yard"
	d := newDesk(t, washer, dryer, private, garage)
	e := d.list["AAAA0002"]
	e.Stations = []string{"private", "garage", "washer"}
	d.list["AAAA0002"] = e
	return &anyone{
		d, rand.New(rand.NewPCG(seed, 1)), map[string]session.MilliWattHours{}, map[string]float64{},
		[]session.IDToken{"AAAA0001", "AAAA0002", "BBBB0001", "00000BAD", "0000CAFE", "0000D0C0", "00000003", "FFFFFFFF"},
	}
}

func (a *anyone) station() string { return a.cfg.Stations[a.r.IntN(len(a.cfg.Stations))].ID }

// pass lets time go by: whole watt-hours flow, so that nothing is rounded.
func (a *anyone) pass(by time.Duration) {
	a.tick(by)
	for _, c := range a.cfg.Stations {
		if a.state.Relay(c.ID) {
			a.register[c.ID] += session.MilliWattHours(a.watts[c.ID]*by.Hours()) * 1000
		}
	}
}

func (a *anyone) readAll() {
	for _, c := range a.cfg.Stations {
		a.read(c.ID, a.register[c.ID], a.watts[c.ID])
	}
}

func (a *anyone) act() string {
	id, uid := a.station(), a.badges[a.r.IntN(len(a.badges))]
	reader := []string{"hall", "yard"}[a.r.IntN(2)]
	switch n := a.r.IntN(100); {
	case n < 25:
		a.pass(time.Duration(a.r.IntN(900)) * time.Second)
		a.readAll()
		return "pass"
	case n < 45:
		before := a.now
		next, out := a.m.Step(a.state, a.now, session.BadgeTapped{Reader: reader, UID: uid, Listing: a.listing(uid)})
		if out.Starts && a.r.IntN(4) == 0 {
			return "tap of " + string(uid) + " that was not written"
		}
		a.now = before
		a.take(next, out)
		return "tap of " + string(uid)
	case n < 60:
		a.watts[id] = []float64{0, 3, 200, 2000, 6000}[a.r.IntN(5)]
		return fmt.Sprintf("load of %s %v", id, a.watts[id])
	case n < 68:
		a.do(session.PlugChanged{Station: id, In: a.r.IntN(2) == 0})
		return "plug"
	case n < 72:
		a.do(session.MeterRead{Station: id, Sample: session.Sample{Lost: true}})
		return "meter lost"
	case n < 74:
		a.do(session.MeterRead{Station: id, Sample: session.Sample{Register: a.register[id], Doubt: "chatters"}})
		return "meter in doubt"
	case n < 80:
		a.do(session.ListingChanged{Station: id, UID: uid, Listing: session.Listing{List: session.ListVersion{Version: 8}}})
		return "removal of " + string(uid)
	case n < 84:
		a.restart()
		return "restart"
	case n < 88:
		wall := a.now.Wall
		a.cut(time.Duration(a.r.IntN(7200))*time.Second, []session.ClockQuality{session.ClockSynced, session.ClockUnknown}[a.r.IntN(2)])
		if a.now.Clock == session.ClockUnknown && a.r.IntN(2) == 0 {
			a.sync(wall.Add(time.Hour))
		}
		return "power cut"
	case n < 94:
		names := []session.CommandName{session.CommandStart, session.CommandStop, session.CommandEnable, session.CommandDisable, session.CommandEnable, session.CommandTest}
		c := names[a.r.IntN(len(names))]
		a.do(session.Commanded{Name: c, Station: id, UID: uid, Listing: a.listing(uid)})
		return "command " + string(c)
	case n < 97:
		a.do(session.ButtonPressed{Reader: reader})
		return "button"
	case n < 98:
		a.now.Wall = a.now.Wall.Add(time.Duration(a.r.Int64N(int64(200*24*time.Hour))) - 100*24*time.Hour)
		return "clock jump"
	default:
		on := a.r.IntN(2) == 0
		a.do(session.RelayFailed{Station: id, On: on, Why: "gone"})
		a.do(session.RelayFailed{Station: id})
		return "relay failed"
	}
}

// check holds what is true whatever happens.
func (a *anyone) check() error {
	billed := map[string]session.MilliWattHours{}
	open, next, over := map[string]string{}, map[string]int{}, map[string]bool{}
	for _, r := range a.records {
		if over[r.TransactionID] || r.SeqNo != next[r.TransactionID] {
			return fmt.Errorf("got %s %d of %s after its end or out of order", r.EventType, r.SeqNo, r.TransactionID)
		}
		next[r.TransactionID]++
		switch r.EventType {
		case session.Started:
			if open[r.Station] != "" {
				return fmt.Errorf("got %s at %s beside %s", r.TransactionID, r.Station, open[r.Station])
			}
			open[r.Station] = r.TransactionID
		case session.Ended:
			delete(open, r.Station)
			over[r.TransactionID] = true
			billed[r.Station] += session.MilliWattHours(r.Energy) * 1000
		}
		if r.Energy < 0 || r.Seconds < 0 {
			return fmt.Errorf("got %d Wh in %d s", r.Energy, r.Seconds)
		}
	}
	for _, s := range a.m.Status(a.state, a.now.Up) {
		if s.TransactionID != open[s.ID] {
			return fmt.Errorf("got %q open at %s, want %q as reported", s.TransactionID, s.ID, open[s.ID])
		}
		if s.Relay && s.TransactionID == "" && (s.Kind == session.Charging) {
			return fmt.Errorf("got the relay of %s on without a session", s.ID)
		}
		sum := billed[s.ID] + session.MilliWattHours(s.Energy)*1000 + s.Unattributed
		if s.Metered && sum != s.Register {
			return fmt.Errorf("got %d mWh in sessions and outside at %s, want the register %d", sum, s.ID, s.Register)
		}
	}
	return nil
}

// twin holds that a daemon that starts now knows of every session what this one does.
func (a *anyone) twin() error {
	s, _ := a.m.Restore(a.journal, a.now)
	now := a.m.Status(a.state, a.now.Up)
	for i, next := range a.m.Status(s, a.now.Up) {
		is := now[i]
		if next.Disabled != is.Disabled || next.TransactionID != is.TransactionID || next.Account != is.Account ||
			next.Recovering != is.Recovering || !slices.Equal(next.Review, is.Review) || is.TransactionID != "" && next.Phase != is.Phase {
			return fmt.Errorf("got %+v after a restart, want %+v", next, is)
		}
	}
	return nil
}

// rest lets all loads end, and wants every relay without a session to open.
func (a *anyone) rest() error {
	for id := range a.watts {
		a.watts[id] = 0
	}
	for range 45 {
		a.pass(time.Minute)
		a.readAll()
	}
	for _, s := range a.m.Status(a.state, a.now.Up) {
		if s.Relay && s.TransactionID == "" {
			return fmt.Errorf("got the relay of %s on long after everything came to rest", s.ID)
		}
	}
	return a.check()
}

func TestWhateverHappens(t *testing.T) {
	records := 0
	for seed := range uint64(150) {
		a := newAnyone(t, seed)
		a.readAll()
		var story []string
		for i := range 300 {
			story = append(story, a.act())
			err := a.check()
			if err == nil && i%10 == 0 {
				err = a.twin()
			}
			if err != nil {
				t.Fatalf("seed %d: %v\nafter %q", seed, err, story[max(0, len(story)-12):])
			}
		}
		if err := a.rest(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		records += len(a.records)
	}
	if records < 150*20 {
		t.Errorf("got %d records in 150 lives, want more of a life", records)
	}
}
