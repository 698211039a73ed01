package session_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

// These tests have meters, lists and disks fail at moments that matter for the
// relay or for the bill.

// A meter that is wired backwards, or whose register is reset again and again, proves
// no rest: nothing ends in the cycle.
func TestRegisterThatCountsBackwardsEndsNothing(t *testing.T) {
	for _, start := range []time.Duration{0, 10 * time.Minute} { // of good readings
		d, m := newMachine(t, meterModel{false, 60, 1000})
		d.tap("AAAA0001")
		m.cruise(2000, start)
		for range 5 * 60 {
			d.tick(time.Minute)
			m.told -= 3000
			if m.told < 0 {
				m.told += 1_000_000_000
			}
			d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Register: m.told}})
		}
		d.wantRelay("washer", true)
		if got := d.last(); got.EventType == session.Ended {
			t.Errorf("after %v of good readings: got the end by %s, want none before max_duration", start, got.StoppedReason)
		}
	}
}

// In Preparing nobody gives up a machine that may have begun while its meter was
// silent or in doubt.
func TestPreparingDoesNotEndOnAMeterThatCouldNotTell(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(c *session.StationConfig)
		then func(d *desk)
	}{
		"silent, then a pause of the program": {func(c *session.StationConfig) {}, func(d *desk) {
			d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Lost: true}})
			d.tick(30 * time.Minute)
			d.read("washer", 200_000, 0)
			d.tick(time.Minute)
			d.read("washer", 200_000, 0)
		}},
		"pulses in doubt": {func(c *session.StationConfig) { c.MeterPower, c.DelayMax = false, 30*time.Minute }, func(d *desk) {
			for range 60 {
				d.tick(time.Minute)
				d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Doubt: "chatters"}})
			}
		}},
		"register without power goes back": {func(c *session.StationConfig) {}, func(d *desk) {
			for i := range session.MilliWattHours(60) {
				d.tick(time.Minute)
				d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Register: 1_000_000 - i*3000}})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := station(session.Laundry, "washer")
			tc.set(&c)
			d := newDesk(t, c)
			d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Register: 0, HasPower: name[0] == 's'}})
			d.tap("AAAA0001")
			tc.then(d)
			d.wantRelay("washer", true)
			d.tick(13 * time.Hour) // and it is not for ever
			d.wantRelay("washer", false)
		})
	}
}

// A meter that was exchanged, or garbage in the first answer, is found out over a
// restart of the daemon and a power cut too; what flowed while the meter was silent
// is billed.
func TestJumpWhileNobodyReads(t *testing.T) {
	restart := func(d *desk) { d.restart() }
	cut := func(d *desk) { d.cut(time.Hour, session.ClockSynced) }
	for name, tc := range map[string]struct {
		ends   func(*desk)
		silent time.Duration // before that
		grew   session.MilliWattHours
		billed int64 // more, in Wh
	}{
		"another meter":                                {restart, 0, 4_000_000_000, 0},
		"what flowed meanwhile":                        {restart, 0, 50_000, 50},
		"what flowed in a long silence":                {restart, 3 * time.Hour, 18_000_000, 18_000},
		"more than can have flowed":                    {restart, 3 * time.Hour, 180_000_000, 0},
		"another meter in a power cut":                 {cut, 0, 4_000_000_000, 0},
		"what was not kept before a power cut":         {cut, 0, 5_000_000, 5_000},
		"what flowed in a long silence before it":      {cut, 5 * time.Hour, 100_000_000, 100_000},
		"more than can have flowed before a power cut": {cut, 5 * time.Hour, 400_000_000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d, reg := charging(t)
			d.tick(tc.silent)
			tc.ends(d)
			before := d.m.Status(d.state, d.now.Up)[0].Unattributed
			*reg += tc.grew + 500 // what is drawn is not whole watt-hours
			d.tick(5 * time.Second)
			d.read("garage", *reg, 6000)
			if got := d.m.Status(d.state, d.now.Up)[0].Unattributed - before; tc.billed == 0 && got < tc.grew {
				t.Errorf("got %d mWh more that are nobody's, want all of the jump", got)
			}
			d.tap("AAAA0001")
			got := d.last()
			least := 1000 + tc.billed
			if tc.billed == 0 {
				least = 900 // at the last checkpoint
			}
			if got.EventType != session.Ended || got.Energy < least || got.Energy > 1000+tc.billed {
				t.Errorf("got %s with %d Wh, want Ended with %d to %d", got.EventType, got.Energy, least, 1000+tc.billed)
			}
			if marked := slices.Contains(got.Review, session.ReviewMeterBackward); marked != (tc.billed == 0) {
				t.Errorf("got marks %q, want MeterBackward: %v", got.Review, tc.billed == 0)
			}
		})
	}
}

// A badge that is blocked while the list cannot be read is looked up until it can.
func TestBlockedBadgeIsFoundOutWhenTheListIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		set := func(unreadable bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.unreadable = unreadable
			delete(w.entries, "AAAA0001")
		}
		set(true)
		c.ListChanged()
		time.Sleep(2 * time.Minute)
		w.wantTrace(t, "Started", "garage true")
		set(false)
		time.Sleep(2 * time.Minute)
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
	})
}

// A stop that comes while a start is being written ends the door releases too.
func TestStopInTheMidstOfAStartEndsDoorReleases(t *testing.T) {
	for name, err := range map[string]error{"written": nil, "not written": session.ErrFull} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				washer, garage := station(session.Laundry, "washer"), station(session.Charging, "garage")
				washer.Meter, washer.RunTime, garage.Meter, garage.Reader = false, time.Hour, false, "yard"
				c, stop := w.start(t, washer, garage)
				c.Tap("hall", "AAAA0001")
				time.Sleep(time.Hour + time.Minute)
				w.wantTrace(t, "Started", "washer true", "Ended")
				w.disk(func(c session.Commit) error {
					for range c.Records {
						time.Sleep(2 * time.Second)
						return err
					}
					return nil
				})
				c.Tap("yard", "BBBB0001")
				time.Sleep(time.Second)
				stop()
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.relay["washer"] || w.relay["garage"] != (err == nil) {
					t.Errorf("got relays %v, want the washer's off", w.relay)
				}
			})
		})
	}
}

// A technician's test does not use up the plug that a resident has just put in.
func TestPlugIsNotSpentByATest(t *testing.T) {
	washer, charger := station(session.Laundry, "washer"), station(session.Charging, "charger")
	charger.Plug = true
	d := newDesk(t, washer, charger)
	d.do(session.PlugChanged{Station: "charger", In: false})
	d.do(session.PlugChanged{Station: "charger", In: true})
	d.read("washer", 0, 0)
	d.read("charger", 0, 0)
	d.do(session.Commanded{Name: session.CommandTest, Station: "charger"})
	d.tick(3 * time.Second)
	if got := d.tap("AAAA0001"); got.Action != session.ActionStart || got.Station != "charger" {
		t.Errorf("got %s at %s, want a start at the charger", got.Action, got.Station)
	}
}
