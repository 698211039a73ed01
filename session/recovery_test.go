package session_test

import (
	"slices"
	"testing"
	"time"

	"badged/session"
)

// cut takes the board's power for a time; clock is its quality after the boot.
func (d *desk) cut(off time.Duration, clock session.ClockQuality) {
	d.now.Wall = d.now.Wall.Add(off)
	d.now.BootID += "+"
	d.now.Up = 20 * time.Second
	d.now.Clock = clock
	if clock == session.ClockUnknown {
		d.now.Wall = time.Unix(0, 0)
	}
	d.restart()
}

func (d *desk) sync(wall time.Time) {
	d.now.Wall, d.now.Clock = wall, session.ClockSynced
	d.tick(3 * time.Second)
}

func (d *desk) last() session.TransactionEvent { return d.records[len(d.records)-1] }

// charging returns a desk with a charging session that has run ten minutes.
func charging(t *testing.T) (*desk, *session.MilliWattHours) {
	d := newDesk(t, station(session.Charging, "garage"))
	reg := new(session.MilliWattHours)
	d.read("garage", 0, 0)
	d.tap("AAAA0001")
	d.load("garage", reg, 6000, 10*time.Minute)
	return d, reg
}

func TestPowerCutOfCharging(t *testing.T) {
	for name, tc := range map[string]struct {
		off    time.Duration
		clock  session.ClockQuality
		synced time.Duration // after the boot; 0 is never
		ends   bool
	}{
		"short and known":        {time.Hour, session.ClockSynced, 0, false},
		"long and known":         {6 * time.Hour, session.ClockSynced, 0, true},
		"clock never comes":      {time.Hour, session.ClockUnknown, 0, true},
		"estimate is no clock":   {time.Hour, session.ClockEstimated, 0, true},
		"clock comes, was short": {time.Hour, session.ClockUnknown, time.Minute, false},
		"clock comes, was long":  {6 * time.Hour, session.ClockUnknown, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, reg := charging(t)
			before := d.now.Wall
			d.cut(tc.off, tc.clock)
			*reg += 7100 // after the last checkpoint
			if d.now.Clock != session.ClockSynced {
				d.wantRelay("garage", false)
			}
			d.read("garage", *reg, 0)
			if tc.synced > 0 {
				d.tick(tc.synced)
				d.sync(before.Add(tc.off + tc.synced))
			}
			for range 6 {
				d.tick(time.Minute)
				d.read("garage", *reg, 0)
			}
			d.wantRelay("garage", !tc.ends)
			if !tc.ends {
				d.tap("AAAA0001")
			}
			want := session.StoppedLocal
			if tc.ends {
				want = session.StoppedPowerLoss
			}
			if got := d.last(); got.StoppedReason != want || got.Energy != 1007 {
				t.Errorf("got %s with %d Wh, want %s with 1007", got.StoppedReason, got.Energy, want)
			}
			if got := d.last().Review; len(got) != 1 || got[0] != session.ReviewPowerLoss {
				t.Errorf("got marks %q, want PowerLoss", got)
			}
		})
	}
}

func TestPowerCutOfLaundry(t *testing.T) {
	for name, tc := range map[string]struct {
		model string
		clock session.ClockQuality
		off   time.Duration
		watts float64 // afterwards
		ends  bool
	}{
		"goes on, S0":        {"S0 at 1000 imp/kWh", session.ClockUnknown, time.Minute, 300, false},
		"goes on, Modbus":    {"Modbus, register of 1 Wh", session.ClockUnknown, time.Minute, 300, false},
		"does not, S0":       {"S0 at 1000 imp/kWh", session.ClockUnknown, time.Minute, 0, true},
		"does not, Modbus":   {"Modbus, register of 1 Wh", session.ClockUnknown, time.Minute, 2, true},
		"known and too long": {"Modbus, register of 1 Wh", session.ClockSynced, time.Hour, 300, true},
		"known and short":    {"Modbus, register of 1 Wh", session.ClockSynced, time.Minute, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, m := newMachine(t, meterModels[tc.model])
			d.tap("AAAA0001")
			m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
			d.cut(tc.off, tc.clock)
			m.run([]part{{"after", 180, tc.watts, 0, 0, 0}})
			if got := d.last().StoppedReason == session.StoppedPowerLoss; got != tc.ends {
				t.Errorf("got records %q, want PowerLoss %v", d.kinds(), tc.ends)
			}
		})
	}
}

func TestRestartOfTheDaemonIsNoPowerCut(t *testing.T) {
	d, reg := charging(t)
	d.restart()
	d.wantRelay("garage", true)
	d.load("garage", reg, 6000, 10*time.Minute)
	if got := d.tap("AAAA0001"); got.Energy != int64(*reg)/1000 {
		t.Errorf("got %d Wh told, want %d", got.Energy, *reg/1000)
	}
	if got := d.last(); got.Energy != int64(*reg)/1000 || len(got.Review) != 0 || got.Seconds != 1200 {
		t.Errorf("got %d Wh in %d s with marks %q, want %d Wh in 1200 s without", got.Energy, got.Seconds, got.Review, *reg/1000)
	}
}

func TestDeadTimeOfAStartSurvivesARestart(t *testing.T) {
	d := newDesk(t, station(session.Charging, "garage"))
	d.read("garage", 0, 0)
	d.tap("AAAA0001")
	d.tick(time.Second)
	d.restart()
	d.read("garage", 0, 0)
	if got := d.tap("AAAA0001"); got.Reason != session.DeadTime {
		t.Errorf("got %+v after a second, want DeadTime", got)
	}
	d.tick(10 * time.Second)
	if got := d.tap("AAAA0001"); got.Action != session.ActionStop {
		t.Errorf("got %+v after eleven, want a stop", got)
	}
}

func TestStationThatLeftTheConfigEndsItsSession(t *testing.T) {
	d, _ := charging(t)
	d.cfg.Stations = []session.StationConfig{station(session.Laundry, "washer")}
	d.restart()
	if got := d.last(); got.EventType != session.Ended || got.Station != "garage" || !slices.Contains(got.Review, session.ReviewEstimated) {
		t.Errorf("got %s at %s with %q, want Ended at garage, Estimated", got.EventType, got.Station, got.Review)
	}
	n := len(d.records)
	d.restart()
	if len(d.records) != n {
		t.Errorf("got %d records more after another restart, want none", len(d.records)-n)
	}
}

func TestDamagedStateIsReportedAndNotFatal(t *testing.T) {
	for name, b := range map[string]string{
		"cut off": `{"v":1,"at":`, "future": `{"v":99}`, "empty": ``, "null": `null`, "list": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := session.Config{Stations: []session.StationConfig{station(session.Laundry, "washer")}}
			m := session.NewMachine(cfg)
			s, out := m.Restore(map[string][]byte{"washer": []byte(b)}, session.Moment{})
			if len(out.Faults) != 1 || s.Relay("washer") {
				t.Errorf("got faults %q and relay %v, want one fault and no relay", out.Faults, s.Relay("washer"))
			}
		})
	}
}

func TestClockUpdatesComeAtTheQuarters(t *testing.T) {
	d, reg := charging(t)
	d.load("garage", reg, 6000, time.Hour)
	var at []int
	for _, r := range d.records {
		if r.TriggerReason == session.TriggerMeterClock {
			at = append(at, r.At.Wall.Minute())
		}
	}
	if len(at) != 4 || at[0] != 15 || at[3] != 0 {
		t.Errorf("got updates at minutes %v, want 15 30 45 0", at)
	}
}
