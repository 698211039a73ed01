package session_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

// These tests are about the relay after a laundry session: it stays on for the
// door, and for whatever machine runs on it then.

// prolonged returns a desk whose washer runs in a door release that is over.
func prolonged(t *testing.T, meter string) (*desk, *machine) {
	t.Helper()
	d, m := newMachine(t, meterModels[meter])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 1200, 2000, 0, 0, 0}, {"over", 600, 1, 0, 0, 0}})
	if got := d.last(); got.EventType != session.Ended {
		t.Fatalf("got %s at last, want the end", got.EventType)
	}
	m.run([]part{{"nobody's", 1200, 2000, 0, 0, 0}})
	d.wantRelay("washer", true)
	return d, m
}

// silent lets time go by without a word of the meter.
func (m *machine) silent(d time.Duration) { m.d.tick(d) }

// cruise draws the same power for a time, in readings ten seconds apart.
func (m *machine) cruise(watts float64, d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		m.d.tick(10*time.Second - time.Second)
		m.total += watts * 9 / 3.6
		m.second(watts, 0)
	}
}

// opens wants the relay to open within a time and says after how long it did.
func (d *desk) opens(within time.Duration, pass func(time.Duration)) (after time.Duration) {
	d.t.Helper()
	for began := d.now.Up; after < within; after = d.now.Up - began {
		if !d.state.Relay("washer") {
			return after
		}
		pass(10 * time.Second)
	}
	d.t.Errorf("got a relay that is still on after %v", within)
	return after
}

func TestProlongedDoorRelease(t *testing.T) {
	const window, longest = 8 * time.Minute, 6 * time.Hour
	for name, tc := range map[string]struct {
		then        func(d *desk, m *machine)
		after       func(m *machine) func(time.Duration) // how time goes by then
		least, most time.Duration                        // until the relay opens
	}{
		"comes to rest": {func(*desk, *machine) {}, (*machine).idle, window / 2, window + time.Minute},
		"runs for hours": {func(_ *desk, m *machine) { m.cruise(300, 8*time.Hour) },
			(*machine).idle, window / 2, window + time.Minute},
		"its meter is lost":   {(*desk).loseMeter, (*machine).quiet, longest - time.Minute, longest},
		"its meter is silent": {func(*desk, *machine) {}, (*machine).quiet, longest - time.Minute, longest},
		"its meter is in doubt": {func(*desk, *machine) {}, (*machine).chatter,
			longest - time.Minute, longest},
		"its meter is lost for a time, and it runs on": {func(d *desk, m *machine) {
			d.loseMeter(m)
			m.silent(time.Hour)
			m.cruise(300, time.Hour)
		}, (*machine).idle, window / 2, window + time.Minute},
		"a technician tries the relay": {func(d *desk, m *machine) { d.tap("0000D0C0"); m.cruise(300, 10*time.Minute) },
			(*machine).idle, window / 2, window + time.Minute},

		"restart, runs on": {func(d *desk, m *machine) { d.restart(); m.cruise(300, time.Hour) },
			(*machine).idle, window / 2, window + time.Minute},
		"restart, comes to rest": {func(d *desk, _ *machine) { d.restart() }, (*machine).idle, window - time.Minute, window + time.Minute},
		"two restarts, comes to rest": {func(d *desk, m *machine) { d.restart(); m.cruise(300, time.Minute); d.restart() },
			(*machine).idle, window - time.Minute, window + time.Minute},
		"restart, its meter never comes back": {func(d *desk, _ *machine) { d.restart() }, (*machine).quiet, longest - time.Hour, longest},
		"restart, its meter is in doubt":      {func(d *desk, _ *machine) { d.restart() }, (*machine).chatter, longest - time.Hour, longest},
		"restart after hours, its meter never comes back": {func(d *desk, m *machine) {
			m.cruise(300, 8*time.Hour)
			d.restart()
		}, (*machine).quiet, longest - time.Hour, longest},
		"away for longer than any cycle":              {func(d *desk, _ *machine) { d.jump(7 * time.Hour); d.restart() }, (*machine).quiet, 0, 0},
		"power cut":                                   {func(d *desk, _ *machine) { d.cut(time.Minute, session.ClockSynced) }, (*machine).quiet, 0, 0},
		"power cut of unknown length":                 {func(d *desk, _ *machine) { d.cut(time.Minute, session.ClockUnknown) }, (*machine).quiet, 0, 0},
		"power cut, then a restart before any saving": {func(d *desk, _ *machine) { d.cut(0, session.ClockSynced); d.restart() }, (*machine).quiet, 0, 0},
	} {
		for _, meter := range []string{"S0 at 1000 imp/kWh", "Modbus, register of 1 Wh"} {
			t.Run(name+"/"+meter, func(t *testing.T) {
				d, m := prolonged(t, meter)
				tc.then(d, m)
				if got := d.opens(tc.most+time.Minute, tc.after(m)); got < tc.least || got > tc.most+time.Minute {
					t.Errorf("got an open relay after %v, want it after %v to %v", got, tc.least, tc.most)
				}
				d.restart()
				d.wantRelay("washer", false)
			})
		}
	}
}

func (d *desk) loseMeter(m *machine) {
	d.do(session.MeterRead{Station: m.id, Sample: session.Sample{Lost: true}})
}

// idle, quiet and chatter are ways for time to go by: at rest, without a word of
// the meter, and with pulses that may be missing.
func (m *machine) idle() func(time.Duration) {
	return func(d time.Duration) { m.cruise(1, d) }
}

func (m *machine) quiet() func(time.Duration) { return m.silent }

func (m *machine) chatter() func(time.Duration) {
	return func(d time.Duration) {
		m.d.tick(d)
		m.d.do(session.MeterRead{Station: m.id, Sample: session.Sample{Register: m.told, Doubt: "chatters"}})
	}
}

// A release whose time is over asks the meter too, whoever ran the machine last.
func TestDoorReleaseWaitsForTheMeterToTell(t *testing.T) {
	released := func(t *testing.T) (*desk, *machine) {
		d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
		d.tap("AAAA0001")
		m.run([]part{{"heat", 1200, 2000, 0, 0, 0}, {"over", 600, 1, 0, 0, 0}})
		d.wantRelay("washer", true)
		return d, m
	}
	t.Run("over while the daemon was away", func(t *testing.T) {
		d, m := released(t)
		d.jump(time.Hour)
		d.restart()
		if got := d.opens(10*time.Minute, m.idle()); got < 7*time.Minute {
			t.Errorf("got an open relay after %v, want it when the meter was heard for a window", got)
		}
	})
	t.Run("restarted just before its end", func(t *testing.T) {
		d, m := released(t)
		m.run([]part{{"still over", 480, 1, 0, 0, 0}})
		d.restart()
		if got := d.opens(10*time.Minute, m.idle()); got < 7*time.Minute {
			t.Errorf("got an open relay after %v, want it when the meter was heard for a window", got)
		}
	})
	t.Run("meter lost in it", func(t *testing.T) {
		d, m := released(t)
		d.loseMeter(m)
		if got := d.opens(6*time.Hour, m.silent); got < 5*time.Hour {
			t.Errorf("got an open relay after %v, want it max_duration after the machine ran", got)
		}
	})
	t.Run("session that ran into max_duration without a meter", func(t *testing.T) {
		d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
		d.tap("AAAA0001")
		m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
		d.loseMeter(m)
		m.silent(5*time.Hour + 52*time.Minute)
		if got := d.last(); got.StoppedReason != session.StoppedTimeLimitReached {
			t.Fatalf("got %s, want TimeLimitReached", got.StoppedReason)
		}
		if got := d.opens(20*time.Minute, m.silent); got < 7*time.Minute {
			t.Errorf("got an open relay after %v, want it after the door release", got)
		}
	})
}

// Where nothing measures, a cycle takes run_time, whoever ends its session.
func TestUnmeteredCycleIsNotCutByAStop(t *testing.T) {
	c := station(session.Laundry, "washer")
	c.Meter, c.RunTime = false, 90*time.Minute
	for name, then := range map[string]func(d *desk){"": func(*desk) {}, ", and a restart": (*desk).restart} {
		for stop, do := range map[string]func(d *desk){
			"master":  func(d *desk) { d.tap("0000CAFE") },
			"command": func(d *desk) { d.do(session.Commanded{Name: session.CommandStop, Station: "washer"}) },
		} {
			t.Run(stop+name, func(t *testing.T) {
				d := newDesk(t, c)
				d.tap("AAAA0001")
				d.tick(30 * time.Minute)
				do(d)
				if got := d.last(); got.EventType != session.Ended {
					t.Fatalf("got %s, want the end", got.EventType)
				}
				d.tick(20 * time.Minute)
				then(d)
				if got := d.opens(time.Hour, d.tick); got < 39*time.Minute || got > 41*time.Minute {
					t.Errorf("got an open relay %v later, want it 40m later, when run_time is over", got)
				}
			})
		}
	}
}

// What the daemon does to the line itself, when it dies in a prolonged release.
func TestProlongedReleaseMovesNoLineOverARestart(t *testing.T) {
	const heard = time.Minute
	for name, tc := range map[string]struct {
		clean bool // else it is killed
		drop  bool // the line falls when the daemon is gone
		watts int64
		want  string // what the relay does after the restart, in an hour
	}{
		"killed, line stands, runs on":      {false, false, 300, ""},
		"killed, line stands, at rest":      {false, false, 0, "washer false"},
		"killed, line fell":                 {false, true, 0, ""},
		"stopped, line stands, runs on":     {true, false, 300, ""},
		"stopped, line stands, at rest":     {true, false, 0, "washer false"},
		"stopped, line fell":                {true, true, 0, ""},
		"killed, line stands, never again":  {false, false, -1, ""},
		"stopped, line stands, never again": {true, false, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				washer := station(session.Laundry, "washer")
				c, stop := w.start(t, washer)
				reg := session.MilliWattHours(0)
				hear := func(watts int64, d time.Duration) {
					for ; d > 0; d -= heard {
						time.Sleep(heard)
						if watts < 0 {
							continue
						}
						reg += session.MilliWattHours(watts * 1000 / 60)
						c.Meter("washer", session.Sample{Register: reg})
					}
				}
				c.Meter("washer", session.Sample{})
				c.Tap("hall", "AAAA0001")
				hear(2000, 20*time.Minute)
				hear(0, 10*time.Minute)
				hear(2000, 15*time.Minute) // nobody's
				synctest.Wait()
				w.wantTrace(t, "Started", "washer true", "Updated", "Ended")
				w.mu.Lock()
				kept := maps.Clone(w.states)
				w.mu.Unlock()
				stop()
				w.wantTrace(t, "Started", "washer true", "Updated", "Ended")
				if !tc.clean {
					w.states = kept
				}
				if tc.drop {
					w.relay["washer"] = false
				}
				w.trace = nil
				c, stop = w.start(t, washer)
				hear(tc.watts, 7*time.Minute)
				stop()
				c, stop = w.start(t, washer)
				hear(tc.watts, 7*time.Minute)
				w.wantTrace(t) // nobody can tell yet
				hear(tc.watts, 46*time.Minute)
				synctest.Wait()
				w.mu.Lock()
				got := strings.Join(w.trace, ", ")
				w.mu.Unlock()
				if got != tc.want {
					t.Errorf("got %q in the hour after it, want %q", got, tc.want)
				}
				if got := c.Status()[0].Status; got != map[bool]session.ConnectorStatus{false: session.Available, true: session.Faulted}[tc.watts < 0] {
					t.Errorf("got %s, want a station that can be taken over, unless its meter is dead", got)
				}
				stop()
			})
		})
	}
}

// leftOver is a world whose washer may run on a prolonged release; its line fell.
func leftOver(t *testing.T) *world {
	t.Helper()
	d, _ := prolonged(t, "S0 at 1000 imp/kWh")
	w := newWorld()
	w.zero = w.zero.Add(-d.now.Up)
	for id, b := range d.journal {
		w.states[id] = []byte(strings.ReplaceAll(string(b), `"boot-1"`, `"b"`))
	}
	return w
}

// Somebody who taps in it takes over, and his session drives the relay.
func TestReleaseThatWasLeftIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := leftOver(t)
		c, stop := w.start(t, station(session.Laundry, "washer"))
		defer stop()
		c.Meter("washer", session.Sample{Register: 2_000_000})
		synctest.Wait()
		w.wantTrace(t)
		c.Tap("hall", "BBBB0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "washer true")
	})
}

// So does a technician's test, and what the relay does then the meter says.
func TestReleaseThatWasLeftCanBeTested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := leftOver(t)
		c, stop := w.start(t, station(session.Laundry, "washer"))
		defer stop()
		synctest.Wait()
		w.wantTrace(t)
		if _, err := c.Command(t.Context(), session.CommandTest, "washer", ""); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			time.Sleep(time.Minute)
			c.Meter("washer", session.Sample{Register: 2_000_000})
		}
		w.wantTrace(t, "Started", "washer true", "Ended", "washer false")
	})
}

// A session that was over before the daemon came back closes no relay that fell.
func TestWhatCameDueMeanwhileClosesNoRelay(t *testing.T) {
	for name, away := range map[string]time.Duration{"a test": 3 * time.Second, "max_duration": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.entries["0000D0C0"] = session.Entry{UID: "0000D0C0", Status: session.Accepted, Role: session.Tester}
				garage := station(session.Charging, "garage")
				garage.Meter, garage.MaxDuration = false, time.Hour
				c, stop := w.start(t, garage)
				c.Tap("hall", map[bool]session.IDToken{true: "0000D0C0", false: "AAAA0001"}[name == "a test"])
				synctest.Wait()
				stop()
				w.relay["garage"], w.trace = false, nil
				time.Sleep(away)
				_, stop = w.start(t, garage)
				time.Sleep(time.Minute)
				w.wantTrace(t, "Ended")
				stop()
			})
		})
	}
}
