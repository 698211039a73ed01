package session_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"badged/session"
)

// desk runs a Machine by hand, with a clock that only tick moves.
type desk struct {
	t       *testing.T
	m       *session.Machine
	cfg     session.Config
	state   session.State
	now     session.Moment
	list    map[session.IDToken]session.Entry
	journal map[string][]byte
	records []session.TransactionEvent
	shown   []session.Signal
	said    []session.Decision
	faults  []string
	ids     int
}

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) // a Monday

func newDesk(t *testing.T, stations ...session.StationConfig) *desk {
	d := &desk{t: t, journal: map[string][]byte{}, list: map[session.IDToken]session.Entry{}}
	d.now.Stamp = session.Stamp{BootID: "boot-1", Up: time.Minute, Wall: epoch, Clock: session.ClockSynced}
	d.cfg = session.Config{
		Billing: session.Managed, Language: "it", Stations: stations,
		NewID: func() string { d.ids++; return fmt.Sprintf("tx-%d", d.ids) },
	}
	for uid, e := range map[session.IDToken]session.Entry{
		"AAAA0001": {Account: "a"}, "AAAA0002": {Account: "a"}, "BBBB0001": {Account: "b"},
		"00000BAD": {Status: session.Blocked, Account: "x"}, "0000CAFE": {Role: session.Master},
		"0000D0C0": {Role: session.Tester}, "00000003": {Origin: session.ThirdParty, Account: "t"},
	} {
		e.UID = uid
		if e.Status == "" {
			e.Status = session.Accepted
		}
		d.list[uid] = e
	}
	d.restart()
	return d
}

// restart is a new machine on the same journal.
func (d *desk) restart() {
	d.m = session.NewMachine(d.cfg)
	next, out := d.m.Restore(d.journal, d.now)
	d.take(next, out)
}

func (d *desk) take(next session.State, out session.Outcome) {
	d.state = next
	for id, b := range out.Commit.States {
		d.journal[id] = b
	}
	for _, r := range out.Commit.Records {
		d.records = append(d.records, r.(session.TransactionEvent))
	}
	d.shown = append(d.shown, out.Signals...)
	d.said = append(d.said, out.Decisions...)
	d.faults = append(d.faults, out.Faults...)
}

func (d *desk) do(e session.Event) {
	d.due()
	d.take(d.m.Step(d.state, d.now, e))
	d.due()
}

func (d *desk) due() {
	for range 100 {
		at, ok := d.m.NextDeadline(d.state, d.now.Up)
		if !ok || at > d.now.Up {
			return
		}
		d.take(d.m.Step(d.state, d.now, session.TimerDue{}))
	}
	d.t.Fatal("got a deadline that never passes")
}

// tick moves the clock and stops at every deadline on the way.
func (d *desk) tick(by time.Duration) {
	end := d.now.Up + by
	for {
		at, ok := d.m.NextDeadline(d.state, d.now.Up)
		if !ok || at > end {
			break
		}
		d.jump(max(at, d.now.Up) - d.now.Up)
		d.due()
	}
	d.jump(end - d.now.Up)
	d.due()
}

func (d *desk) jump(by time.Duration) { d.now.Up += by; d.now.Wall = d.now.Wall.Add(by) }

func (d *desk) listing(uid session.IDToken) session.Listing {
	e, ok := d.list[uid]
	return session.Listing{Entry: e, Found: ok, List: session.ListVersion{List: "l", Epoch: 1, Version: 7}}
}

func (d *desk) tap(uid session.IDToken) session.Decision {
	n := len(d.said)
	d.do(session.BadgeTapped{Reader: "hall", UID: uid, Listing: d.listing(uid)})
	if len(d.said) != n+1 {
		d.t.Fatalf("got %d decisions for one tap, want 1", len(d.said)-n)
	}
	return d.said[n]
}

func (d *desk) read(station string, register session.MilliWattHours, power float64) {
	d.do(session.MeterRead{Station: station, Sample: session.Sample{Register: register, Power: power, HasPower: true}})
}

func (d *desk) kinds() []string {
	var all []string
	for _, r := range d.records {
		all = append(all, string(r.EventType)+" "+string(r.TriggerReason)+" "+string(r.StoppedReason))
	}
	return all
}

func (d *desk) wantKinds(want ...string) {
	d.t.Helper()
	if got := d.kinds(); !slices.Equal(got, want) {
		d.t.Errorf("got records %q, want %q", got, want)
	}
	for i, r := range d.records {
		if r.TransactionID == d.records[0].TransactionID && r.SeqNo != i {
			d.t.Errorf("got seqNo %d for record %d, want %d", r.SeqNo, i, i)
		}
	}
}

func (d *desk) wantRelay(station string, want bool) {
	d.t.Helper()
	if got := d.state.Relay(station); got != want {
		d.t.Errorf("got relay of %s %v, want %v", station, got, want)
	}
}

func station(kind session.Service, id string) session.StationConfig {
	c := session.DefaultStation(kind)
	c.ID, c.Reader, c.MeterPower = id, "hall", true
	return c
}

// load draws power in W for a time, sampled every ten seconds.
func (d *desk) load(station string, register *session.MilliWattHours, power float64, d2 time.Duration) {
	for ; d2 > 0; d2 -= 10 * time.Second {
		d.tick(10 * time.Second)
		if d.state.Relay(station) {
			*register += session.MilliWattHours(power * 10 / 3.6)
		}
		d.read(station, *register, power)
	}
}

func TestLaundryFromTapToRest(t *testing.T) {
	d := newDesk(t, station(session.Laundry, "washer"))
	reg := session.MilliWattHours(5_000_000)
	d.read("washer", reg, 0)
	if got := d.tap("AAAA0001"); got.Action != session.ActionStart || got.Status != session.Accepted {
		t.Fatalf("got %+v, want a start", got)
	}
	d.wantRelay("washer", true)
	d.load("washer", &reg, 2000, 20*time.Minute)
	d.load("washer", &reg, 100, 20*time.Minute)
	d.load("washer", &reg, 2, 9*time.Minute)
	d.wantKinds("Started Authorized ", "Updated ChargingStateChanged ", "Ended ChargingStateChanged Other")
	d.wantRelay("washer", true)
	d.load("washer", &reg, 0, 10*time.Minute)
	d.wantRelay("washer", false)
	if got := d.records[2].Energy; got < 699 || got > 702 {
		t.Errorf("got %d Wh, want about 700", got)
	}
}

func TestChargingEndsByTheSameAccount(t *testing.T) {
	d := newDesk(t, station(session.Charging, "garage"))
	reg := session.MilliWattHours(0)
	d.read("garage", reg, 0)
	d.tap("AAAA0001")
	d.load("garage", &reg, 11_000, 10*time.Minute)
	if got := d.tap("BBBB0001"); got.Status != session.ConcurrentTx || got.Reason != session.StationOccupied {
		t.Errorf("got %s %s for a stranger, want ConcurrentTx StationOccupied", got.Status, got.Reason)
	}
	if got := d.tap("AAAA0002"); got.Action != session.ActionStop {
		t.Errorf("got %+v, want a stop", got)
	}
	d.wantKinds("Started Authorized ", "Updated ChargingStateChanged ", "Ended StopAuthorized Local")
	d.wantRelay("garage", false)
}

func TestChargingEndsByUnplugging(t *testing.T) {
	c := station(session.Charging, "garage")
	c.Plug = true
	d := newDesk(t, c)
	d.read("garage", 0, 0)
	d.tap("AAAA0001")
	d.do(session.PlugChanged{Station: "garage", In: true})
	d.do(session.PlugChanged{Station: "garage"})
	d.wantKinds("Started Authorized ", "Updated ChargingStateChanged ", "Ended EVDeparted EVDisconnected")
	d.wantRelay("garage", false)
}

func BenchmarkTap(b *testing.B) {
	m := session.NewMachine(session.Config{
		Stations: []session.StationConfig{station(session.Charging, "garage")}, NewID: func() string { return "tx" },
	})
	now := session.Moment{Stamp: session.Stamp{BootID: "b", Up: time.Minute, Wall: epoch, Clock: session.ClockSynced}}
	s, _ := m.Step(session.State{}, now, session.MeterRead{Station: "garage"})
	tap := session.BadgeTapped{Reader: "hall", UID: "AAAA0001", Listing: session.Listing{
		Found: true, Entry: session.Entry{UID: "AAAA0001", Status: session.Accepted},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, out := m.Step(s, now, tap); !out.Starts {
			b.Fatal("got no start")
		}
	}
}
