package gateway

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"badged/session"
)

// hands are a clock that the test moves.
type hands struct {
	mu     sync.Mutex
	zero   time.Time // Up counts from here
	ahead  time.Duration
	wall   time.Time // at zero
	synced bool
	chrony bool // set the clock, and only tells who asks
}

func (h *hands) up() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.zero) + h.ahead
}

func (h *hands) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead += d
}

func (h *hands) sync(wall time.Time) {
	up := h.up()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall, h.synced = wall.Add(-up), true
}

// asked is what chrony would say.
func (h *hands) asked(context.Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chrony
}

// boot returns the clock of a new boot, which knows the time or thinks it is 1970.
func boot(id string, wall time.Time) (*clock, *hands) {
	h := &hands{zero: time.Now(), ahead: 20 * time.Second, wall: wall.Add(-20 * time.Second), synced: !wall.IsZero()}
	if wall.IsZero() {
		h.wall = time.Unix(0, 0)
	}
	return clockBy(id, h), h
}

func clockBy(id string, h *hands) *clock {
	return &clock{bootID: id, floor: builtAfter, up: h.up, chrony: h.asked,
		wall: func() time.Time {
			up := h.up()
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.wall.Add(up)
		},
		source: func() string {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.synced {
				return "timesyncd"
			}
			return ""
		}}
}

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAnchorsAreDue(t *testing.T) {
	type look struct {
		after  time.Duration // since the look before
		step   time.Duration // of the wall clock on top
		synced bool
	}
	s, day := time.Second, 24*time.Hour
	for name, tc := range map[string]struct {
		looks []look
		want  []string
	}{
		"never synchronised":             {[]look{{s, 0, false}, {day, 0, false}}, []string{"", ""}},
		"first synchronisation":          {[]look{{s, 0, false}, {s, 1e9 * s, true}, {s, 0, true}}, []string{"", "first", ""}},
		"daily":                          {[]look{{s, 0, true}, {day - s, 0, true}, {s, 0, true}, {day, 0, true}}, []string{"first", "", "daily", "daily"}},
		"a step forward and one back":    {[]look{{s, 0, true}, {s, 2 * s, true}, {s, -2 * s, true}}, []string{"first", "step", "step"}},
		"a clock that is slewed":         {[]look{{s, 0, true}, {time.Hour, 1700 * time.Millisecond, true}}, []string{"first", ""}},
		"a small step":                   {[]look{{s, 0, true}, {s, 900 * time.Millisecond, true}}, []string{"first", ""}},
		"a step of years to before 1970": {[]look{{s, 0, true}, {s, -60 * 365 * day, true}}, []string{"first", "step"}},
	} {
		t.Run(name, func(t *testing.T) {
			var k timekeeper
			now := session.Stamp{BootID: "b", Up: time.Minute, Wall: noon}
			var got []string
			for _, l := range tc.looks {
				now.Up, now.Wall, now.Clock = now.Up+l.after, now.Wall.Add(l.after+l.step), session.ClockUnknown
				if l.synced {
					now.Clock = session.ClockSynced
				}
				why, _ := k.due(now)
				got = append(got, why)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLastGoodTimeIsKeptHourly(t *testing.T) {
	var k timekeeper
	now := session.Stamp{BootID: "b", Up: time.Minute, Wall: noon, Clock: session.ClockSynced}
	kept := 0
	for range 10 * 60 * 60 {
		now.Up, now.Wall = now.Up+time.Second, now.Wall.Add(time.Second)
		if _, floor := k.due(now); floor {
			kept++
		}
	}
	if kept != 10 {
		t.Errorf("got %d writes in ten hours, want 10", kept)
	}
}

func TestClockQuality(t *testing.T) {
	c, h := boot("b", time.Time{})
	if got := c.Stamp(); got.Clock != session.ClockUnknown || got.BootID != "b" {
		t.Errorf("got %+v in 1970, want unknown", got)
	}
	if got := c.Now(); !got.Equal(builtAfter) {
		t.Errorf("got %v for certificates in 1970, want %v", got, builtAfter)
	}
	c.setFloor(noon)
	if got := c.Now(); !got.Equal(noon) {
		t.Errorf("got %v for certificates, want the last good time %v", got, noon)
	}
	h.mu.Lock()
	h.wall = noon.Add(time.Hour)
	h.mu.Unlock()
	if got := c.Stamp().Clock; got != session.ClockEstimated {
		t.Errorf("got %s after the last good time, want estimated", got)
	}
	h.sync(noon.Add(-time.Hour))
	if got := c.Stamp(); got.Clock != session.ClockSynced || c.Now().After(noon) {
		t.Errorf("got %s and %v, want a synchronised clock to be believed before the floor too", got.Clock, c.Now())
	}
	h.mu.Lock()
	h.synced = false // as the kernel forgets after nine hours
	h.mu.Unlock()
	if got := c.Stamp().Clock; got != session.ClockSynced || c.settler() != "timesyncd" {
		t.Errorf("got %s by %q later in the boot, want synced by timesyncd still", got, c.settler())
	}
}

// At its first start a fresh card thinks that it is 1970. It is no earlier than its
// configuration was made, so that certificates from before that are good; once the
// clock was set, what that said goes.
func TestFirstStartIsAfterTheFileWasMade(t *testing.T) {
	made := noon.Add(31 * 24 * time.Hour)
	h := newHouse(t, nowhere)
	open := func() time.Time {
		t.Helper()
		c, _ := boot("boot-1", time.Time{})
		g := newGateway(h.cfg, h.hw, slog.New(slog.DiscardHandler), c)
		if err := g.open(); err != nil {
			t.Fatal(err)
		}
		defer g.close()
		now := g.clock.Now()
		if made.Equal(now) { // the second time it was set, an hour before that
			if err := g.ledger.SetFloor(t.Context(), made.Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		return now
	}
	if now := open(); !now.Equal(builtAfter) {
		t.Errorf("got %v without a note, want %v", now, builtAfter)
	}
	record := filepath.Join(filepath.Dir(h.cfg.File), "record.json")
	if err := os.WriteFile(record, []byte(`{"made": "`+made.Format(time.RFC3339)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if now := open(); !now.Equal(made) {
		t.Errorf("got %v, want when the file was made, %v", now, made)
	}
	if now := open(); !now.Equal(made.Add(-time.Hour)) {
		t.Errorf("got %v, want the last good time", now)
	}
}
