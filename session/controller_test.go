package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
)

// world is everything round a Controller, in memory; its clock is the bubble's.
type world struct {
	mu         sync.Mutex
	trace      []string // relay moves and commits in the order they happened
	relay      map[string]bool
	states     map[string][]byte
	records    []session.TransactionEvent
	others     []session.Record
	said       []session.Decision
	shown      []session.Signal
	entries    map[session.IDToken]session.Entry
	version    uint64
	commit     func(session.Commit) error // what the disk does; nil is well
	refuses    bool                       // the relay does not obey
	welded     bool                       // it does not open
	looked     func()                     // called in the next lookup, with mu held
	unreadable bool                       // the list
	zero       time.Time
	ids        int
	alive      int
}

type worldPower struct {
	w  *world
	id string
}

func (p worldPower) Set(on bool) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.refuses && on || p.w.welded && !on {
		return errors.New("line is gone")
	}
	if p.w.relay[p.id] != on {
		p.w.trace = append(p.w.trace, fmt.Sprintf("%s %v", p.id, on))
	}
	p.w.relay[p.id] = on
	return nil
}

func (w *world) Show(s session.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = append(w.shown, s)
}

func (w *world) Lookup(_ context.Context, uid session.IDToken) (session.Listing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unreadable {
		return session.Listing{}, errors.New("database disk image is malformed")
	}
	e, ok := w.entries[uid]
	if w.looked != nil {
		w.looked()
	}
	return session.Listing{Entry: e, Found: ok, List: session.ListVersion{List: "l", Version: w.version}}, nil
}

func (w *world) States(context.Context) (map[string][]byte, error) { return maps.Clone(w.states), nil }

func (w *world) Commit(_ context.Context, c session.Commit) error {
	w.mu.Lock()
	f := w.commit
	w.mu.Unlock()
	if f != nil {
		if err := f(c); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.states, c.States)
	for _, r := range c.Records {
		e, ok := r.(session.TransactionEvent)
		if !ok {
			w.others = append(w.others, r)
			continue
		}
		w.records = append(w.records, e)
		w.trace = append(w.trace, string(e.EventType))
	}
	return nil
}

func (w *world) disk(f func(session.Commit) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commit = f
}

func newWorld() *world {
	return &world{
		relay: map[string]bool{}, states: map[string][]byte{}, zero: time.Now(), version: 1,
		entries: map[session.IDToken]session.Entry{
			"AAAA0001": {UID: "AAAA0001", Status: session.Accepted, Account: "a"},
			"BBBB0001": {UID: "BBBB0001", Status: session.Accepted, Account: "b"},
		},
	}
}

// start runs a Controller in the bubble; the function it returns stops it.
func (w *world) start(t *testing.T, stations ...session.StationConfig) (controller, func()) {
	power := map[string]session.Power{}
	for _, s := range stations {
		power[s.ID] = worldPower{w, s.ID}
	}
	cfg := session.Config{
		Billing: session.Managed, Stations: stations,
		NewID: func() string { w.ids++; return fmt.Sprintf("tx-%d", w.ids) },
	}
	c := session.NewController(cfg, session.Deps{
		List: w, Journal: w, Power: power, Panel: w,
		Clock: func() session.Stamp {
			return session.Stamp{BootID: "b", Up: time.Since(w.zero), Wall: time.Now(), Clock: session.ClockSynced}
		},
		Observe: func(d session.Decision) { w.mu.Lock(); defer w.mu.Unlock(); w.said = append(w.said, d) },
		Alive:   func() { w.mu.Lock(); defer w.mu.Unlock(); w.alive++ },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return controller{c}, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v from Run, want nil", err)
		}
	}
}

// controller is one whose badges are all of the same kind.
type controller struct{ *session.Controller }

func (c controller) Tap(reader string, uid session.IDToken) {
	c.Controller.Tap(reader, uid, session.Card{Type: "classic-1k"})
}

func (w *world) last() session.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.said) == 0 {
		return session.Decision{}
	}
	return w.said[len(w.said)-1]
}

func (w *world) reported() []session.TransactionEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records)
}

func (w *world) wantTrace(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.trace, want) {
		t.Errorf("got %q, want %q", w.trace, want)
	}
}

func TestStartIsWrittenBeforeTheRelayCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "garage true")
		time.Sleep(20 * time.Second)
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
	})
}

func TestFailedStartHasNotHappened(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want session.Reason
	}{
		"disk is full":   {fmt.Errorf("commit: %w", session.ErrFull), session.StorageFull},
		"disk is broken": {errors.New("input/output error"), session.StorageFault},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				c, stop := w.start(t, station(session.Charging, "garage"))
				defer stop()
				c.Meter("garage", session.Sample{})
				synctest.Wait()
				w.disk(func(session.Commit) error { return tc.err })
				c.Tap("hall", "AAAA0001")
				synctest.Wait()
				if got := w.last(); got.Reason != tc.want || got.Action != session.ActionNone || got.TransactionID != "" {
					t.Errorf("got %+v, want a refusal for %s", got, tc.want)
				}
				w.wantTrace(t)
				w.disk(nil)
				time.Sleep(time.Minute)
				c.Meter("garage", session.Sample{})
				c.Tap("hall", "AAAA0001")
				synctest.Wait()
				w.wantTrace(t, "Started", "garage true")
			})
		})
	}
}

func TestEndIsWrittenUntilItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		w.disk(func(session.Commit) error { return errors.New("input/output error") })
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		w.wantTrace(t, "Started", "garage true", "garage false")
		c.Tap("hall", "BBBB0001")
		synctest.Wait()
		if got := w.last(); got.Reason != session.StorageFault {
			t.Errorf("got %q while an end is not written, want StorageFault", got.Reason)
		}
		w.disk(nil)
		time.Sleep(time.Minute)
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
	})
}

func TestSlowDiskDelaysNoOpeningRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := station(session.Charging, "a"), station(session.Charging, "b")
		b.Reader = "yard"
		c, stop := w.start(t, a, b)
		defer stop()
		c.Meter("a", session.Sample{})
		c.Meter("b", session.Sample{})
		c.Tap("hall", "AAAA0001")
		time.Sleep(20 * time.Second)
		w.disk(func(session.Commit) error { time.Sleep(10 * time.Second); return nil })
		c.Tap("yard", "BBBB0001") // its start is stuck in the disk
		synctest.Wait()
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "a true", "a false")
		time.Sleep(time.Minute)
		w.wantTrace(t, "Started", "a true", "a false", "Started", "b true", "Ended")
		w.disk(nil)
	})
}

func TestBlockedBadgeStopsChargingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.mu.Lock()
		delete(w.entries, "AAAA0001")
		w.mu.Unlock()
		c.ListChanged()
		synctest.Wait()
		w.wantTrace(t, "Started", "garage true", "garage false", "Ended")
		if got := w.reported()[1].StoppedReason; got != session.StoppedDeAuthorized {
			t.Errorf("got %s, want DeAuthorized", got)
		}
	})
}

func TestRestartOfTheDaemonMovesNoRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Laundry, "washer"))
		c.Meter("washer", session.Sample{})
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		stop()
		c, stop = w.start(t, station(session.Laundry, "washer"))
		defer stop()
		synctest.Wait()
		w.wantTrace(t, "Started", "washer true")
		if got := c.Status()[0]; got.TransactionID != "tx-1" || !got.Relay {
			t.Errorf("got %+v after the restart, want tx-1 with its relay on", got)
		}
	})
}

func TestRelayThatDoesNotCloseEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		defer stop()
		w.mu.Lock()
		w.refuses = true
		w.mu.Unlock()
		c.Meter("garage", session.Sample{})
		c.Tap("hall", "AAAA0001")
		synctest.Wait()
		w.wantTrace(t, "Started", "Ended")
		if said := w.said[len(w.said)-1]; said.Reason != session.StationFaulted || said.Action != session.ActionNone {
			t.Errorf("got %+v at last, want nobody told that it is on", said)
		}
		if got := c.Status()[0].Status; got != session.Faulted {
			t.Errorf("got %s, want Faulted", got)
		}
		d, err := c.Command(t.Context(), session.CommandEnable, "garage", "")
		if err != nil || d.Status != session.Accepted || c.Status()[0].Status != session.Available {
			t.Errorf("got %+v, %v, %s after enable, want an available station", d, err, c.Status()[0].Status)
		}
	})
}

func TestIdleLoopStaysAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		_, stop := w.start(t, station(session.Charging, "garage"))
		time.Sleep(time.Hour)
		stop()
		if w.alive < 700 || w.alive > 1500 {
			t.Errorf("got %d turns in an idle hour, want one every five seconds", w.alive)
		}
	})
}

func TestSelectionWaitsForTheStartThatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		yard := station(session.Charging, "yard")
		yard.Reader = "yard"
		c, stop := w.start(t, station(session.Laundry, "w1"), station(session.Laundry, "w2"), yard)
		defer stop()
		for _, id := range []string{"w1", "w2", "yard"} {
			c.Meter(id, session.Sample{})
		}
		synctest.Wait()
		c.Tap("hall", "AAAA0001") // selects, and starts in five seconds
		synctest.Wait()
		w.disk(func(session.Commit) error { time.Sleep(20 * time.Second); return nil })
		c.Tap("yard", "BBBB0001")
		time.Sleep(10 * time.Second)
		for range 200 { // more than may wait
			c.Meter("yard", session.Sample{Register: 5})
			c.Tap("yard", "AAAA0001")
		}
		time.Sleep(3 * time.Minute)
		w.disk(nil)
		w.wantTrace(t, "Started", "yard true", "Started", "w1 true")
		if got := c.Status()[2].Register; got != 5 {
			t.Errorf("got register %d of the station that was starting, want 5", got)
		}
	})
}

func TestCommandSaysWhenNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c, stop := w.start(t, station(session.Charging, "garage"))
		if _, err := c.Command(t.Context(), "explode", "garage", ""); err == nil {
			t.Error("got no error for an unknown command")
		}
		stop()
		if _, err := c.Command(t.Context(), session.CommandStop, "garage", ""); err == nil {
			t.Error("got no error after the end")
		}
		c.Tap("hall", "AAAA0001")
		c.Meter("garage", session.Sample{})
	})
}
