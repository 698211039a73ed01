package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

// These tests have something happen while something else is under way.

func TestTakeoverStartsWithAWindowOfItsOwn(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	d.tap("0000CAFE")
	d.tap("BBBB0001")
	m.run([]part{{"nothing", 301, 0, 0, 0, 0}})
	if got := d.last(); got.StoppedReason != session.StoppedTimeout || got.Energy != 0 {
		t.Errorf("got %s with %d Wh, want Timeout without any", got.StoppedReason, got.Energy)
	}
}

func TestRelayDoesNotClickInATakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Laundry, "washer"))
		defer stop()
		c.Meter("washer", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(time.Minute)
		c.Meter("washer", session.Sample{Register: 50_000}) // runs
		if _, err := c.Command(t.Context(), session.CommandStop, "washer", ""); err != nil {
			t.Fatal(err)
		}
		for range 9 {
			time.Sleep(time.Minute)
			c.Meter("washer", session.Sample{Register: 50_000})
		}
		time.Sleep(55 * time.Second)
		w.disk(func(session.Commit) error { time.Sleep(20 * time.Second); return nil })
		c.Tap("hall", "BBBB0001") // written only after the door release is over
		time.Sleep(time.Minute)
		w.disk(nil)
		w.wantTrace(t, "Started", "washer true", "Updated", "Ended", "Started")
	})
}

func TestListThatChangesDuringATapStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		synctest.Wait()
		w.mu.Lock()
		w.looked = func() {
			w.looked = nil
			delete(w.entries, "AAAA0001")
			c.ListChanged()
			synctest.Wait() // looked up again, and no session is open yet
		}
		w.mu.Unlock()
		c.Tap("hall", "AAAA0001")
		time.Sleep(time.Second)
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
	})
}

func TestWhatCouldNotBeWrittenComesBeforeWhatCameAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		one, two := station(session.Charging, "one"), station(session.Charging, "two")
		two.Reader = "yard"
		c, stop := w.start(t, one, two)
		defer stop()
		c.Meter("one", session.Sample{})
		c.Meter("two", session.Sample{})
		c.Tap("hall", "AAAA0001")
		c.Tap("yard", "BBBB0001")
		time.Sleep(20 * time.Second)
		w.disk(func(session.Commit) error { time.Sleep(time.Second); return errors.New("input/output error") })
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		c.Tap("yard", "BBBB0001")
		synctest.Wait()
		w.disk(nil)
		time.Sleep(time.Minute)
		if got := w.reported(); len(got) != 4 || got[2].Station != "one" || got[3].Station != "two" {
			t.Errorf("got %+v, want the end of one before that of two", got)
		}
	})
}
