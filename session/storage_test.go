package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

func TestFullDiskEndsSessionsAndDropsTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		w.disk(func(c session.Commit) error {
			for _, r := range c.Records {
				if r.(session.TransactionEvent).EventType == session.Ended && len(c.Telemetry) == 0 {
					return nil
				}
			}
			return session.ErrFull
		})
		c.Tap("hall", "FFFFFFFF") // nothing but telemetry
		synctest.Wait()
		c.Tap("hall", "AAAA0001")
		time.Sleep(time.Second)
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
		time.Sleep(time.Minute)
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "BBBB0001")
		synctest.Wait()
		if got := w.last().Reason; got != session.StorageFull {
			t.Errorf("got %q, want StorageFull", got)
		}
		w.disk(nil)
		time.Sleep(time.Minute)
		c.Tap("hall", "BBBB0001")
		synctest.Wait()
		if got := w.last().Action; got != session.ActionStart {
			t.Errorf("got %q when there is room again, want a start", got)
		}
	})
}

func TestBrokenDiskKeepsOrderAndBounds(t *testing.T) {
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
		w.disk(func(session.Commit) error { return errors.New("input/output error") })
		c.Tap("yard", "BBBB0001")
		for h := range session.MilliWattHours(600) { // ten hours of a broken disk
			time.Sleep(time.Minute)
			c.Meter("one", session.Sample{Register: h * 100_000})
		}
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.disk(nil)
		time.Sleep(time.Minute)
		var got []string
		seq := map[string]int{}
		for _, r := range w.reported()[2:] {
			got = append(got, r.Station+" "+string(r.EventType))
			if seq[r.Station]++; r.SeqNo != seq[r.Station] {
				t.Errorf("got seqNo %d at %s, want %d", r.SeqNo, r.Station, seq[r.Station])
			}
		}
		if len(got) > 4 || got[0] != "two Ended" || got[len(got)-1] != "one Ended" {
			t.Errorf("got %q, want the end of two, few updates, and the end of one", got)
		}
	})
}

func TestWhatHappensLastIsWrittenBeforeRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		c.Meter("garage", session.Sample{Register: 1000})
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		c.Meter("garage", session.Sample{Register: 7000})
		w.disk(func(session.Commit) error { time.Sleep(2 * time.Second); return nil })
		synctest.Wait()
		stop()
		w.disk(nil)
		c, stop = w.start(t, station(session.Charging, "garage"))
		defer stop()
		synctest.Wait()
		if got := c.Status()[0]; got.Energy != 6 || got.TransactionID == "" {
			t.Errorf("got %+v, want the session with 6 Wh", got)
		}
	})
}

func TestRelayThatDoesNotOpenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		w.mu.Lock()
		w.welded = true
		w.mu.Unlock()
		c.Tap("hall", "AAAA0001")
		time.Sleep(5 * time.Second)
		if got := c.Status()[0].Status; got != session.Faulted {
			t.Errorf("got %s, want Faulted", got)
		}
		w.mu.Lock()
		w.welded = false
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		w.wantTrace(t, "Started", "garage true", "Ended", "garage false")
		if got := c.Status()[0].Status; got != session.Available {
			t.Errorf("got %s when it obeys again, want Available", got)
		}
	})
}

func TestListThatCannotBeReadRefusesStrangersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.unreadable = true
		w.mu.Unlock()
		c.ListChanged()
		c.Tap("hall", "BBBB0001")
		synctest.Wait()
		if got := w.last(); got.Reason != session.ListUnreadable {
			t.Errorf("got %q, want ListUnreadable", got.Reason)
		}
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
	})
}
