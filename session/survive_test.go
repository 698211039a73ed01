package session_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

// These tests hold what a session must not forget, for the bill or for the relay,
// when the daemon starts again or the power was away.

func TestTimeOffCountsInNoSession(t *testing.T) {
	d, reg := charging(t)
	d.cut(time.Hour, session.ClockSynced)
	d.load("garage", reg, 6000, 5*time.Minute)
	d.tap("AAAA0001")
	if got := d.last().Seconds; got < 14*60 || got > 15*60 {
		t.Errorf("got %d s, want the 15 min with power, but for the last checkpoint's", got)
	}
}

func TestMarksOfARestartAndACut(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(d *desk, m *machine)
		want []session.Review
	}{
		"power cut, pulses": {func(d *desk, _ *machine) { d.cut(time.Minute, session.ClockSynced) },
			[]session.Review{session.ReviewPowerLoss, session.ReviewEstimated}},
		"power cut of a board that never knew the time": {func(d *desk, m *machine) {
			d.now.Clock = session.ClockUnknown
			d.tick(time.Minute)
			d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Register: m.told + 33_000}})
			d.cut(time.Minute, session.ClockSynced)
		}, []session.Review{session.ReviewPowerLoss, session.ReviewEstimated, session.ReviewTimeUnknown}},
		"restart":                   {func(d *desk, _ *machine) { d.restart() }, nil},
		"daemon away for some time": {func(d *desk, _ *machine) { d.jump(5 * time.Minute); d.restart() }, []session.Review{session.ReviewEstimated}},
	} {
		t.Run(name, func(t *testing.T) {
			d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
			d.tap("AAAA0001")
			m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
			tc.do(d, m)
			if got := d.m.Status(d.state, d.now.Up)[0].Review; !slices.Equal(got, tc.want) {
				t.Errorf("got marks %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTwoPowerCutsAreCountedFromTheFirst(t *testing.T) {
	d, _ := charging(t)
	wall := d.now.Wall
	d.cut(3*time.Hour+50*time.Minute, session.ClockUnknown)
	d.tick(time.Minute)
	d.cut(time.Hour, session.ClockUnknown)
	d.sync(wall.Add(4*time.Hour + 51*time.Minute))
	d.read("garage", 1_000_000, 0)
	d.wantRelay("garage", false)
	if got := d.last().StoppedReason; got != session.StoppedPowerLoss {
		t.Errorf("got %q, want PowerLoss: nearly five hours are more than four", got)
	}
}

// A daemon that starts again and again does not begin the waiting anew.
func TestRestartsProlongNoRecovery(t *testing.T) {
	d, _ := charging(t)
	d.cut(time.Minute, session.ClockUnknown)
	for range 6 {
		d.tick(59 * time.Second)
		d.restart()
		d.tick(time.Second)
	}
	if got := d.last().StoppedReason; got != session.StoppedPowerLoss {
		t.Errorf("got %q six minutes after the cut, want PowerLoss after five", got)
	}
}

func TestCutThatWasTooLongClosesNoRelay(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	d.cut(time.Hour, session.ClockSynced)
	d.wantRelay("washer", false)
	d.tick(time.Second)
	d.cut(time.Second, session.ClockUnknown) // before the meter has answered
	d.wantRelay("washer", false)
	m.second(0, 0)
	d.wantRelay("washer", false) // and no door release
	if got := d.last(); got.StoppedReason != session.StoppedPowerLoss || slices.Contains(got.Review, session.ReviewEstimated) {
		t.Errorf("got %s with %q, want PowerLoss by the meter's own reading", got.StoppedReason, got.Review)
	}
}

func TestTimeOffThatNobodyKnowsResumesNoCharging(t *testing.T) {
	for name, cut := range map[string]func(d *desk){
		"the clock went back": func(d *desk) { d.cut(-time.Hour, session.ClockSynced) },
		"nobody knew the time before": func(d *desk) {
			d.now.Clock = session.ClockEstimated
			d.tick(time.Minute)
			d.read("garage", 1_100_000, 6000)
			d.cut(time.Minute, session.ClockSynced)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := charging(t)
			cut(d)
			d.wantRelay("garage", false)
			d.tick(6 * time.Minute)
			d.wantRelay("garage", false)
			if got := d.last().StoppedReason; got != session.StoppedPowerLoss {
				t.Errorf("got %q, want PowerLoss", got)
			}
		})
	}
}

// The last sign of life is kept in a session of which nothing is heard, too.
func TestCutOfAnUnmeteredCycleIsCountedFromTheLastCheckpoint(t *testing.T) {
	c := station(session.Laundry, "washer")
	c.Meter, c.RunTime = false, 3*time.Hour
	d := newDesk(t, c)
	d.tap("AAAA0001")
	d.tick(2 * time.Hour)
	d.cut(time.Minute, session.ClockSynced)
	d.wantRelay("washer", true)
	if got := d.last(); got.EventType != session.Started {
		t.Errorf("got %s by %s, want the session to go on", got.EventType, got.StoppedReason)
	}
}

func TestWhatARestartMustNotForget(t *testing.T) {
	washer := station(session.Laundry, "washer")
	t.Run("when the draw of a delayed start began", func(t *testing.T) {
		d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
		d.tap("AAAA0001")
		m.cruise(5, 5*time.Hour+30*time.Minute)
		m.cruise(2000, 10*time.Minute)
		d.restart()
		m.cruise(2000, time.Hour)
		if got := d.last(); got.EventType == session.Ended {
			t.Errorf("got the end by %s in the second hour of a cycle", got.StoppedReason)
		}
	})
	t.Run("that the badge was blocked in the cycle", func(t *testing.T) {
		for _, limit := range []bool{false, true} {
			d := newDesk(t, washer)
			toPhase(d, washer, session.PhaseInUse)
			delete(d.list, "AAAA0001")
			d.do(session.ListingChanged{Station: "washer", UID: "AAAA0001", Listing: d.listing("AAAA0001")})
			n := len(d.records)
			d.restart()
			if limit {
				d.tick(7 * time.Hour)
			} else {
				reg := session.MilliWattHours(170_000)
				d.load("washer", &reg, 0, 20*time.Minute)
			}
			if got := d.last(); got.StoppedReason != session.StoppedDeAuthorized || len(d.records) != n+1 {
				t.Errorf("got %q, want one end, DeAuthorized", d.kinds()[n:])
			}
		}
	})
	t.Run("that the station is out of service", func(t *testing.T) {
		d := newDesk(t, washer)
		d.do(session.Commanded{Name: session.CommandDisable, Station: "washer"})
		d.restart()
		d.read("washer", 0, 0)
		if got := d.tap("AAAA0001"); got.Reason != session.StationDisabled {
			t.Errorf("got %+v, want StationDisabled", got)
		}
	})
	t.Run("that no plug has come yet", func(t *testing.T) {
		c := station(session.Charging, "garage")
		c.Plug = true
		d := newDesk(t, c)
		d.read("garage", 0, 0)
		d.tap("AAAA0001")
		d.restart()
		d.do(session.PlugChanged{Station: "garage", In: false})
		d.wantRelay("garage", true)
		d.wantKinds("Started Authorized ")
	})
	t.Run("what was drawn outside sessions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			c, stop := w.start(t, washer)
			c.Meter("washer", session.Sample{Register: 1000})
			c.Meter("washer", session.Sample{Register: 5000})
			synctest.Wait()
			stop()
			c, stop = w.start(t, washer)
			defer stop()
			synctest.Wait()
			if got := c.Status()[0]; got.Register != 5000 || got.Unattributed != 4000 {
				t.Errorf("got register %d, nobody's %d, want 5000 and 4000", got.Register, got.Unattributed)
			}
		})
	})
	t.Run("to ask whether the badge was blocked meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			garage := station(session.Charging, "garage")
			c, stop := w.start(t, garage)
			c.Meter("garage", session.Sample{})
			c.Tap("hall", "AAAA0001")
			synctest.Wait()
			stop()
			delete(w.entries, "AAAA0001")
			_, stop = w.start(t, garage)
			defer stop()
			time.Sleep(time.Second)
			w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
		})
	})
}

func TestProgrammedStartIsNotWaitedForForever(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.cruise(5, 13*time.Hour)
	d.wantRelay("washer", false)
	if got := d.last(); got.StoppedReason != session.StoppedTimeout || got.Seconds != 12*3600 {
		t.Errorf("got %q after %d s, want Timeout after 12 h", got.StoppedReason, got.Seconds)
	}
}

// A door release ends with the session that takes it over.
func TestTakenOverDoorReleaseIsGone(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 1200, 2000, 0, 0, 0}, {"over", 600, 1, 0, 0, 0}})
	d.tap("BBBB0001")
	d.do(session.Commanded{Name: session.CommandStop, Station: "washer"})
	d.wantRelay("washer", false)
}

func TestMasterOfTheSameAccountIsAMaster(t *testing.T) {
	c := station(session.Laundry, "washer")
	d := newDesk(t, c)
	d.list["0000CAFE"] = session.Entry{UID: "0000CAFE", Status: session.Accepted, Role: session.Master, Account: "a"}
	toPhase(d, c, session.PhaseInUse)
	if got := d.tap("0000CAFE"); got.Action != session.ActionStop || d.last().StoppedReason != session.StoppedMasterPass {
		t.Errorf("got %+v, want a stop by the master", got)
	}
}
