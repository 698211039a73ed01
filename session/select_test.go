package session_test

import (
	"testing"
	"time"

	"badged/session"
)

func TestSeveralStationsAtAReader(t *testing.T) {
	washers := []session.StationConfig{station(session.Laundry, "w1"), station(session.Laundry, "w2"), station(session.Laundry, "w3")}
	newRoom := func(t *testing.T) *desk {
		d := newDesk(t, washers...)
		for _, w := range washers {
			d.read(w.ID, 0, 0)
		}
		return d
	}
	running := func(d *desk) (on string) {
		for _, w := range washers {
			if d.state.Relay(w.ID) {
				on += w.ID
			}
		}
		return on
	}
	t.Run("one tap starts the first free after five seconds", func(t *testing.T) {
		d := newRoom(t)
		if got := d.tap("AAAA0001"); got.Action != session.ActionSelect || got.Station != "w1" || running(d) != "" {
			t.Errorf("got %+v with %q on, want w1 selected and nothing on", got, running(d))
		}
		d.tick(5 * time.Second)
		if running(d) != "w1" {
			t.Errorf("got %q on, want w1", running(d))
		}
	})
	t.Run("taps step through the free ones", func(t *testing.T) {
		d := newRoom(t)
		for _, want := range []string{"w1", "w2", "w3", "w1", "w2"} {
			if got := d.tap("AAAA0001"); got.Station != want {
				t.Errorf("got %s selected, want %s", got.Station, want)
			}
			d.tick(2 * time.Second)
		}
		d.tick(5 * time.Second)
		if running(d) != "w2" {
			t.Errorf("got %q on, want w2", running(d))
		}
	})
	t.Run("another badge waits for the one that is choosing", func(t *testing.T) {
		d := newRoom(t)
		d.tap("AAAA0001")
		if got := d.tap("BBBB0001"); got.Reason != session.SelectionPending {
			t.Errorf("got %q, want SelectionPending", got.Reason)
		}
	})
	t.Run("a button's choice starts at once", func(t *testing.T) {
		d := newRoom(t)
		d.do(session.ButtonPressed{Reader: "hall"})
		d.do(session.ButtonPressed{Reader: "hall"})
		d.tap("AAAA0001")
		if running(d) != "w2" {
			t.Errorf("got %q on, want w2", running(d))
		}
	})
	t.Run("a button's choice is forgotten", func(t *testing.T) {
		d := newRoom(t)
		d.do(session.ButtonPressed{Reader: "hall"})
		d.tick(31 * time.Second)
		if got := d.tap("AAAA0001"); got.Action != session.ActionSelect {
			t.Errorf("got %+v, want a selection", got)
		}
	})
	t.Run("the last free one starts at once", func(t *testing.T) {
		d := newRoom(t)
		for range 2 {
			d.tap("AAAA0001")
			d.tick(16 * time.Second)
		}
		d.tap("BBBB0001")
		if running(d) != "w1w2w3" {
			t.Errorf("got %q on, want all", running(d))
		}
	})
	t.Run("a second tap by mistake starts no second machine", func(t *testing.T) {
		d := newRoom(t)
		d.tap("AAAA0001")
		d.tick(6 * time.Second)
		if got := d.tap("AAAA0001"); got.Reason != session.DeadTime {
			t.Errorf("got %+v, want DeadTime", got)
		}
	})
}

func TestFirstPluggedStartsAtOnce(t *testing.T) {
	one, two := station(session.Charging, "one"), station(session.Charging, "two")
	one.Plug, two.Plug = true, true
	d := newDesk(t, one, two)
	d.read("one", 0, 0)
	d.read("two", 0, 0)
	d.do(session.PlugChanged{Station: "two", In: true})
	if got := d.tap("AAAA0001"); got.Action != session.ActionStart || got.Station != "two" {
		t.Errorf("got %+v, want a start of two", got)
	}
}

func TestWasherAndChargerAtOneReader(t *testing.T) {
	newRoom := func(t *testing.T) *desk {
		washer, charger := station(session.Laundry, "washer"), station(session.Charging, "charger")
		charger.Plug = true
		d := newDesk(t, washer, charger)
		d.read("washer", 0, 0)
		d.read("charger", 0, 0)
		return d
	}
	want := func(t *testing.T, d *desk, action session.Action, at string) {
		t.Helper()
		if got := d.tap("AAAA0001"); got.Action != action || got.Station != at {
			t.Errorf("got %+v, want %s at %s", got, action, at)
		}
	}
	t.Run("without a plug in, the washer is meant", func(t *testing.T) {
		want(t, newRoom(t), session.ActionStart, "washer")
	})
	t.Run("a plug that came chooses the charger", func(t *testing.T) {
		d := newRoom(t)
		d.do(session.PlugChanged{Station: "charger", In: true})
		want(t, d, session.ActionStart, "charger")
	})
	t.Run("a plug that was charged by chooses nothing more", func(t *testing.T) {
		d := newRoom(t)
		d.do(session.PlugChanged{Station: "charger", In: true})
		d.tap("AAAA0001")
		d.do(session.Commanded{Name: session.CommandStop, Station: "charger"})
		d.tick(11 * time.Second)
		want(t, d, session.ActionStart, "washer")
	})
	t.Run("a button of the station chooses it", func(t *testing.T) {
		d := newRoom(t)
		d.do(session.ButtonPressed{Reader: "hall", Station: "charger"})
		want(t, d, session.ActionStart, "charger")
	})
	t.Run("an unknown badge is told nothing of the session there", func(t *testing.T) {
		d := newRoom(t)
		d.tap("AAAA0001")
		if got := d.tap("FFFF0001"); got.Reason != session.UnknownBadge || got.Station != "" || got.TransactionID != "" {
			t.Errorf("got %+v, want UnknownBadge and nothing else", got)
		}
	})
}
