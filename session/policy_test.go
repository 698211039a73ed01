package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"badged/session"
)

// toPhase brings the desk's only station into a phase, with a session of AAAA0001
// where the phase has one.
func toPhase(d *desk, c session.StationConfig, p session.Phase) {
	reg := new(session.MilliWattHours)
	if p == session.PhaseFaulted {
		return // no meter has been heard of
	}
	d.read(c.ID, 0, 0)
	switch p {
	case session.PhaseUnavailable:
		d.do(session.Commanded{Name: session.CommandDisable, Station: c.ID})
	case session.PhasePreparing, session.PhaseInUse, session.PhaseFinishing:
		d.tap("AAAA0001")
	}
	switch p {
	case session.PhasePreparing:
		d.tick(time.Minute)
	case session.PhaseInUse:
		d.load(c.ID, reg, 2000, 5*time.Minute)
	case session.PhaseFinishing:
		d.load(c.ID, reg, 2000, time.Minute)
		d.load(c.ID, reg, 0, 9*time.Minute)
	}
	if got := d.m.Status(d.state, d.now.Up)[0].Phase; got != p {
		d.t.Fatalf("got phase %s, want %s", got, p)
	}
}

var phases = []session.Phase{
	session.PhaseAvailable, session.PhasePreparing, session.PhaseInUse,
	session.PhaseFinishing, session.PhaseUnavailable, session.PhaseFaulted,
}

func TestEveryBadgeInEveryPhase(t *testing.T) {
	const (
		start, stop, test                = "start", "stop", "test"
		occup, runs, disab, fault, stops = "StationOccupied", "AlreadyRunning", "StationDisabled", "StationFaulted", "MasterOnlyStops"
		blocked, unknown, third          = "BlockedBadge", "UnknownBadge", "ThirdPartyBadge"
	)
	// Available, Preparing, InUse, Finishing, Unavailable, Faulted
	want := map[session.Service]map[session.IDToken][6]string{
		session.Laundry: {
			"AAAA0001": {start, stop, runs, stop, disab, fault},
			"AAAA0002": {start, stop, runs, stop, disab, fault},
			"BBBB0001": {start, occup, occup, occup, disab, fault},
			"0000CAFE": {stops, stop, stop, stop, stops, stops},
			"0000D0C0": {test, occup, occup, occup, test, test},
			"00000BAD": {blocked, blocked, blocked, blocked, blocked, blocked},
			"FFFFFFFF": {unknown, unknown, unknown, unknown, unknown, unknown},
			"00000003": {third, third, third, third, third, third},
		},
		session.Charging: {
			"AAAA0001": {start, stop, stop, stop, disab, fault},
			"AAAA0002": {start, stop, stop, stop, disab, fault},
			"BBBB0001": {start, occup, occup, occup, disab, fault},
			"0000CAFE": {stops, stop, stop, stop, stops, stops},
			"0000D0C0": {test, occup, occup, occup, test, test},
			"00000BAD": {blocked, blocked, blocked, blocked, blocked, blocked},
			"FFFFFFFF": {unknown, unknown, unknown, unknown, unknown, unknown},
			"00000003": {third, third, third, third, third, third},
		},
	}
	for kind, badges := range want {
		for uid, row := range badges {
			for i, p := range phases {
				t.Run(fmt.Sprintf("%s/%s/%s", kind, uid, p), func(t *testing.T) {
					c := station(kind, "s")
					d := newDesk(t, c)
					toPhase(d, c, p)
					before := d.state.Relay("s")
					got := d.tap(uid)
					if said := string(got.Action) + string(got.Reason); said != row[i] {
						t.Errorf("got %q, want %q", said, row[i])
					}
					if got.Status != got.Reason.Status() {
						t.Errorf("got status %s for %q, want %s", got.Status, got.Reason, got.Reason.Status())
					}
					if got.Action == session.ActionNone && d.state.Relay("s") != before {
						t.Error("got a relay that moved on a refusal")
					}
				})
			}
		}
	}
}

func TestPolicyTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range session.Policies() {
		for _, phase := range phases {
			if _, ok := p.Rules[phase]; !ok {
				t.Errorf("got no rule for %s, %s in %s", p.Kind, p.Who, phase)
			}
		}
		seen[string(p.Kind)+string(p.Who)] = true
	}
	if len(seen) != 14 {
		t.Errorf("got %d rows, want 7 relations for each of 2 kinds", len(seen))
	}
}

func TestBadgeBlockedMeanwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  session.Service
		phase session.Phase
		ends  bool
	}{
		"charging":                {session.Charging, session.PhaseInUse, true},
		"charging not yet":        {session.Charging, session.PhasePreparing, true},
		"laundry not yet":         {session.Laundry, session.PhasePreparing, true},
		"laundry at rest":         {session.Laundry, session.PhaseFinishing, true},
		"laundry in a wash cycle": {session.Laundry, session.PhaseInUse, false},
	} {
		for _, by := range []string{"list", "tap"} {
			t.Run(name+" by "+by, func(t *testing.T) {
				c := station(tc.kind, "s")
				d := newDesk(t, c)
				toPhase(d, c, tc.phase)
				delete(d.list, "AAAA0001")
				for range 2 { // the second time changes nothing
					if by == "list" {
						d.do(session.ListingChanged{Station: "s", UID: "AAAA0001", Listing: d.listing("AAAA0001")})
					} else if got := d.tap("AAAA0001"); got.Reason != session.UnknownBadge {
						t.Errorf("got %s, want UnknownBadge", got.Reason)
					}
				}
				last := d.last()
				if tc.ends != (last.StoppedReason == session.StoppedDeAuthorized) || last.TriggerReason != session.TriggerDeauthorized {
					t.Errorf("got %q, want an end %v", d.kinds(), tc.ends)
				}
				reg := session.MilliWattHours(170_000)
				d.load("s", &reg, 0, 20*time.Minute)
				if got := d.last(); got.StoppedReason != session.StoppedDeAuthorized {
					t.Errorf("got %s at last, want DeAuthorized", got.StoppedReason)
				}
			})
		}
	}
}

func TestExpiryAndLostListTouchNoSession(t *testing.T) {
	for name, l := range map[string]session.Listing{
		"expired": {Found: true, Entry: session.Entry{UID: "AAAA0001", Status: session.Expired}, List: session.ListVersion{Version: 9}},
		"no list": {},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := charging(t)
			n := len(d.records)
			d.do(session.ListingChanged{Station: "garage", UID: "AAAA0001", Listing: l})
			if len(d.records) != n {
				t.Errorf("got %q, want nothing", d.kinds()[n:])
			}
			d.do(session.BadgeTapped{Reader: "hall", UID: "AAAA0001", Listing: l})
			if got := d.said[len(d.said)-1]; got.Action != session.ActionStop {
				t.Errorf("got %+v, want the badge to stop its own session", got)
			}
		})
	}
}

func TestDeadTimes(t *testing.T) {
	d := newDesk(t, station(session.Charging, "garage"))
	d.read("garage", 0, 0)
	d.tap("AAAA0001")
	d.tick(9 * time.Second)
	if got := d.tap("AAAA0001"); got.Reason != session.DeadTime || d.shown[len(d.shown)-1].Reason != session.DeadTime {
		t.Errorf("got %q nine seconds after the start, want DeadTime, shown", got.Reason)
	}
	if got := d.tap("BBBB0001"); got.Reason != session.StationOccupied {
		t.Errorf("got %q for another badge, want StationOccupied", got.Reason)
	}
	d.tick(time.Second)
	if got := d.tap("AAAA0001"); got.Action != session.ActionStop {
		t.Errorf("got %+v ten seconds after the start, want a stop", got)
	}
	d.tick(2 * time.Second)
	if got := d.tap("AAAA0001"); got.Reason != session.DeadTime {
		t.Errorf("got %q two seconds after the stop, want DeadTime", got.Reason)
	}
	d.tick(time.Second)
	if got := d.tap("AAAA0001"); got.Action != session.ActionStart {
		t.Errorf("got %+v three seconds after the stop, want a start", got)
	}
}

func TestServiceTestIsMarkedAndShort(t *testing.T) {
	d := newDesk(t, station(session.Laundry, "washer"))
	d.read("washer", 0, 0)
	d.tap("0000D0C0")
	d.wantRelay("washer", true)
	d.tick(2 * time.Second)
	d.wantRelay("washer", false)
	d.wantKinds("Started Authorized ", "Ended TimeLimitReached Local")
	for _, r := range d.records {
		if len(r.Review) != 1 || r.Review[0] != session.ReviewServiceTest {
			t.Errorf("got marks %q, want ServiceTest", r.Review)
		}
	}
}

func TestDoorReleaseIsTakenOver(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 1200, 2000, 0, 0, 0}, {"over", 600, 1, 0, 0, 0}})
	d.wantRelay("washer", true)
	first := d.last()
	if got := d.tap("BBBB0001"); got.Action != session.ActionStart {
		t.Fatalf("got %+v in door release, want a start", got)
	}
	if got := d.last(); got.MeterStart < first.MeterValue || got.Energy != 0 {
		t.Errorf("got a start at %d Wh with %d, want %d or more with 0", got.MeterStart, got.Energy, first.MeterValue)
	}
	m.run([]part{{"not started", 600, 1, 0, 0, 0}})
	d.wantRelay("washer", false)
	if got := d.last(); got.StoppedReason != session.StoppedTimeout {
		t.Errorf("got %s, want Timeout of the one who took over", got.StoppedReason)
	}
}

func TestLaundryWithoutMeterRunsItsTime(t *testing.T) {
	c := station(session.Laundry, "washer")
	c.Meter, c.RunTime = false, 90*time.Minute
	d := newDesk(t, c)
	d.tap("AAAA0001")
	d.tick(90*time.Minute - time.Second)
	d.wantKinds("Started Authorized ")
	d.tick(time.Second)
	d.wantKinds("Started Authorized ", "Ended TimeLimitReached Other")
	d.tick(10 * time.Minute)
	d.wantRelay("washer", false)
}

func TestAccountLimit(t *testing.T) {
	d := newDesk(t, station(session.Charging, "one"), station(session.Charging, "two"))
	d.cfg.Stations[1].Reader = "yard"
	d.cfg.MaxSessionsPerAccount = 1
	d.restart()
	d.read("one", 0, 0)
	d.read("two", 0, 0)
	d.tap("AAAA0001")
	d.do(session.BadgeTapped{Reader: "yard", UID: "AAAA0002", Listing: d.listing("AAAA0002")})
	if got := d.said[1]; got.Reason != session.AccountLimit || got.Status != session.ConcurrentTx {
		t.Errorf("got %s %s, want ConcurrentTx AccountLimit", got.Status, got.Reason)
	}
	d.do(session.BadgeTapped{Reader: "yard", UID: "BBBB0001", Listing: d.listing("BBBB0001")})
	if got := d.said[2]; got.Action != session.ActionStart {
		t.Errorf("got %+v for another account, want a start", got)
	}
}

func TestCommands(t *testing.T) {
	start := session.Commanded{Name: session.CommandStart, Station: "garage", UID: "AAAA0001"}
	stop := session.Commanded{Name: session.CommandStop, Station: "garage"}
	d := newDesk(t, station(session.Charging, "garage"))
	start.Listing = d.listing("AAAA0001")
	d.read("garage", 0, 0)
	for i, step := range []struct {
		do     session.Commanded
		reason session.Reason
		relay  bool
	}{
		{stop, session.NoSession, false},
		{start, "", true},
		{start, session.StationOccupied, true},
		{session.Commanded{Name: session.CommandDisable, Station: "garage"}, "", true},
		{stop, "", false},
		{start, session.StationDisabled, false},
		{session.Commanded{Name: session.CommandEnable, Station: "garage"}, "", false},
		{session.Commanded{Name: session.CommandStop, Station: "attic"}, session.NoStation, false},
	} {
		d.tick(15 * time.Second)
		d.do(step.do)
		if got := d.said[len(d.said)-1]; got.Reason != step.reason || len(d.said) != i+1 {
			t.Errorf("got %q for %s, step %d, want %q", got.Reason, step.do.Name, i, step.reason)
		}
		d.wantRelay("garage", step.relay)
	}
	d.wantKinds("Started RemoteStart ", "Ended RemoteStop Remote")
}

func TestRelayIsTriedWithoutABadgeWhereverAServiceBadgeWould(t *testing.T) {
	for _, kind := range []session.Service{session.Laundry, session.Charging} {
		for _, p := range phases {
			if kind == session.Charging && p == session.PhaseFinishing {
				continue // charging has none
			}
			t.Run(fmt.Sprint(kind, p), func(t *testing.T) {
				c := station(kind, "washer")
				d := newDesk(t, c)
				toPhase(d, c, p)
				relay, records := d.m.Status(d.state, d.now.Up)[0].Relay, len(d.records)
				d.do(session.Commanded{Name: session.CommandTest, Station: "washer"})
				got := d.said[len(d.said)-1]
				if p == session.PhasePreparing || p == session.PhaseInUse || p == session.PhaseFinishing {
					d.wantRelay("washer", relay)
					if got.Reason != session.StationOccupied || len(d.records) != records {
						t.Errorf("got %+v, want StationOccupied and no record", got)
					}
					return
				}
				d.wantRelay("washer", true)
				if got.Action != session.ActionTest || got.Status != session.Accepted {
					t.Errorf("got %+v, want a test", got)
				}
				d.tick(3 * time.Second)
				d.wantRelay("washer", false)
				if e := d.last(); e.EventType != session.Ended || e.UID != "" || e.Account != "" || e.Review[0] != session.ReviewServiceTest {
					t.Errorf("got %+v, want the end of a test that is nobody's", e)
				}
			})
		}
	}
}

func TestRefusedCardKeepsItsReason(t *testing.T) {
	d := newDesk(t, station(session.Laundry, "washer"))
	d.do(session.CardRefused{Reader: "hall", UID: "04112233445566", Reason: "DESFire"})
	if got := d.said[0]; got.Status != session.Invalid || got.Reason != "DESFire" || d.shown[0].Reason != "DESFire" {
		t.Errorf("got %+v and %+v, want Invalid DESFire", got, d.shown[0])
	}
}

func TestTelemetryNamesTheKindOfCard(t *testing.T) {
	m := session.NewMachine(session.Config{Stations: []session.StationConfig{station(session.Laundry, "washer")}})
	card := session.Card{Type: "classic-1k", Notes: []string{"ATQASize"}}
	for _, e := range []session.Event{
		session.CardRefused{Reader: "hall", UID: "AAAA0001", Reason: "DESFire", Card: card},
		session.BadgeTapped{Reader: "hall", UID: "AAAA0001", Card: card},
		session.BadgeTapped{Reader: "attic", UID: "AAAA0001", Card: card},
	} {
		_, out := m.Step(session.State{}, session.Moment{}, e)
		b, err := json.Marshal(out.Commit.Telemetry)
		if err != nil || !strings.Contains(string(b), `"type":"classic-1k"`) || !strings.Contains(string(b), `"notes":["ATQASize"]`) {
			t.Errorf("%T: got telemetry %s, %v, want type and notes of the card", e, b, err)
		}
	}
}

func TestEventsForStationsThatAreNotThere(t *testing.T) {
	d := newDesk(t, station(session.Laundry, "washer"))
	for _, e := range []session.Event{
		session.MeterRead{Station: "attic"}, session.PlugChanged{Station: "attic", In: true},
		session.ListingChanged{Station: "attic"}, session.RelayFailed{Station: "attic", Why: "gone"},
		session.ButtonPressed{Reader: "attic"}, session.TimerDue{},
	} {
		d.do(e)
	}
	if len(d.records)+len(d.said) != 0 {
		t.Errorf("got %q and %v, want nothing", d.kinds(), d.said)
	}
	d.do(session.BadgeTapped{Reader: "attic", UID: "AAAA0001", Listing: d.listing("AAAA0001")})
	if got := d.said[0].Reason; got != session.NoStation {
		t.Errorf("got %q, want NoStation", got)
	}
}
