package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

func TestPulsesThatMayBeMissingEndNothingAndAreMarked(t *testing.T) {
	d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	for range 120 { // twenty minutes of chatter, in which no pulse is counted
		d.tick(10 * time.Second)
		d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Register: m.told, Doubt: "chatters"}})
	}
	d.wantKinds("Started Authorized ", "Updated ChargingStateChanged ")
	d.wantRelay("washer", true)
	if got := d.m.Status(d.state, d.now.Up)[0]; got.MeterFault != "" || !slices.Equal(got.Review, []session.Review{session.ReviewMeterDoubt}) {
		t.Errorf("got fault %q and marks %q, want only MeterDoubt", got.MeterFault, got.Review)
	}
	if n := len(d.faults); n < 2 || n > 3 {
		t.Errorf("got %d faults in twenty minutes, want one every ten", n)
	}
	m.run([]part{{"over", 600, 1, 0, 0, 0}})
	if got := d.last(); got.EventType != session.Ended || !slices.Equal(got.Review, []session.Review{session.ReviewMeterDoubt}) {
		t.Errorf("got %s with marks %q, want Ended with MeterDoubt", got.EventType, got.Review)
	}
}

func TestDrawInDoorReleaseIsReportedOnce(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 1200, 2000, 0, 0, 0}, {"over", 600, 1, 0, 0, 0}})
	before := d.m.Status(d.state, d.now.Up)[0].Unattributed
	m.run([]part{{"again", 300, 2000, 0, 0, 0}})
	if len(d.faults) != 1 || !strings.Contains(d.faults[0], "without a session") {
		t.Errorf("got faults %q, want the draw reported once", d.faults)
	}
	if got := d.m.Status(d.state, d.now.Up)[0].Unattributed - before; got < 160_000 {
		t.Errorf("got %d mWh more that are nobody's, want about 166000", got)
	}
}

func TestStopEndsDoorReleaseAndNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		washer, dryer := station(session.Laundry, "washer"), station(session.Laundry, "dryer")
		dryer.Reader = "yard"
		for _, c := range []*session.StationConfig{&washer, &dryer} {
			c.Meter, c.RunTime = false, time.Hour
		}
		dryer.RunTime = 3 * time.Hour
		c, stop := w.start(t, washer, dryer)
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		c.Tap("yard", "BBBB0001")
		time.Sleep(time.Hour + time.Minute)
		stop()
		w.wantTrace(t, "Started", "washer true", "Started", "dryer true", "Ended", "washer false")
		_, stop = w.start(t, washer, dryer)
		synctest.Wait()
		stop()
		w.wantTrace(t, "Started", "washer true", "Started", "dryer true", "Ended", "washer false")
	})
}

func TestSpentPlugStaysSpentOverARestart(t *testing.T) {
	newRoom := func(t *testing.T) *desk {
		washer, charger := station(session.Laundry, "washer"), station(session.Charging, "charger")
		charger.Plug = true
		d := newDesk(t, washer, charger)
		d.do(session.PlugChanged{Station: "charger", In: false})
		d.do(session.PlugChanged{Station: "charger", In: true})
		d.read("washer", 0, 0)
		d.read("charger", 0, 0)
		d.tap("AAAA0001")
		d.do(session.Commanded{Name: session.CommandStop, Station: "charger"})
		d.tick(11 * time.Second)
		return d
	}
	for name, tc := range map[string]struct {
		after []bool // the plug, as it is reported after the restart
		want  string
	}{
		"same car":                  {[]bool{true}, "washer"},
		"unplugged meanwhile":       {[]bool{false}, "washer"},
		"unplugged and another car": {[]bool{false, true}, "charger"},
		"same car, then another":    {[]bool{true, false, true}, "charger"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newRoom(t)
			d.restart()
			for _, in := range tc.after {
				d.do(session.PlugChanged{Station: "charger", In: in})
			}
			d.read("washer", 0, 0)
			d.read("charger", 0, 0)
			if got := d.tap("AAAA0001"); got.Action != session.ActionStart || got.Station != tc.want {
				t.Errorf("got %s at %s, want a start at %s", got.Action, got.Station, tc.want)
			}
		})
	}
}

func TestOccupiedStationSaysWhenItIsFree(t *testing.T) {
	timed, metered := station(session.Laundry, "washer"), station(session.Laundry, "washer")
	timed.Meter, timed.RunTime = false, 90*time.Minute
	for name, tc := range map[string]struct {
		c    session.StationConfig
		want time.Duration
	}{
		"fixed time":      {timed, 88 * time.Minute},
		"nobody can know": {metered, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, tc.c)
			d.read("washer", 0, 0)
			d.tap("AAAA0001")
			d.tick(2 * time.Minute)
			d.read("washer", 0, 0)
			d.tap("BBBB0001")
			if got := d.shown[len(d.shown)-1]; got.Reason != session.StationOccupied || got.FreeIn != tc.want {
				t.Errorf("got %s, free in %v, want StationOccupied, %v", got.Reason, got.FreeIn, tc.want)
			}
		})
	}
}

func TestHungCommitShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		time.Sleep(time.Minute)
		if got := c.Writing(); got != 0 {
			t.Errorf("got %v at rest, want 0", got)
		}
		release := make(chan struct{})
		w.disk(func(session.Commit) error { <-release; return nil })
		c.Tap("hall", "AAAA0001")
		time.Sleep(2 * time.Minute)
		if got := c.Writing(); got != 2*time.Minute {
			t.Errorf("got %v while the disk hangs, want 2m0s", got)
		}
		close(release)
		w.disk(nil)
		synctest.Wait()
		if got := c.Writing(); got != 0 {
			t.Errorf("got %v after it, want 0", got)
		}
	})
}

func TestRecordsOfOthersAreWrittenUntilTheyHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		w.disk(func(session.Commit) error { return errors.New("input/output error") })
		want := session.ClockAnchor{Source: "kernel", Why: "first"}
		c.Record(want)
		time.Sleep(time.Minute)
		w.disk(nil)
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.others) != 1 || w.others[0] != want {
			t.Errorf("got %v, want the anchor once", w.others)
		}
	})
}
