package gateway

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"badged/session"
)

// clock gives every event its Stamp. It is safe for concurrent use.
type clock struct {
	bootID string
	up     func() time.Duration // CLOCK_BOOTTIME
	wall   func() time.Time
	// source looks who has set the wall clock; "" is nobody yet.
	source func() string
	// chrony asks the one that is not seen from here; see askChrony.
	chrony func(context.Context) bool

	mu    sync.Mutex
	setBy string    // source's answer; once in this boot is enough: see Stamp
	floor time.Time // the last good time, which the wall clock cannot be before
}

// builtAfter is earlier than any build of this software: a wall clock before it
// is certainly wrong.
var builtAfter = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// newClock takes the boot's id from BADGED_BOOT_ID where a sandbox hides /proc.
func newClock() *clock {
	id := os.Getenv("BADGED_BOOT_ID")
	if id == "" {
		b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		id = strings.TrimSpace(string(b))
	}
	return &clock{bootID: strings.ReplaceAll(id, "-", ""), up: uptime, wall: time.Now, source: kernelSource, floor: builtAfter,
		chrony: func(ctx context.Context) bool { return chronySynced(ctx, chronyAddr) }}
}

// clockOf is the hardware's own clock, or else the kernel's.
func clockOf(hw Hardware) *clock {
	c := newClock()
	if t, ok := hw.(Timed); ok {
		if own, ok := t.Clock(); ok {
			c.bootID, c.up, c.wall, c.source = own.BootID, own.Up, own.Wall, own.Source
		}
	}
	return c
}

// Stamp is the time now. A clock that was synchronised once in this boot keeps
// that quality: the kernel forgets its own flag after some nine hours without a
// server, when the clock is still right to a second or so.
func (c *clock) Stamp() session.Stamp {
	// Without Go's monotonic reading: it would hide steps from differences.
	s := session.Stamp{BootID: c.bootID, Up: c.up(), Wall: c.wall().Round(0), Clock: session.ClockUnknown}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.setBy == "" {
		c.setBy = c.source()
	}
	switch {
	case c.setBy != "":
		s.Clock = session.ClockSynced
	case s.Wall.After(c.floor):
		s.Clock = session.ClockEstimated // kept by an RTC or carried over by the system
	}
	return s
}

// Now is the time that certificates are checked by: a clock that is certainly
// behind would hold a good one for not valid yet.
func (c *clock) Now() time.Time {
	s := c.Stamp()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Clock != session.ClockSynced && s.Wall.Before(c.floor) {
		return c.floor
	}
	return s.Wall
}

// settler is who has set the wall clock in this boot.
func (c *clock) settler() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setBy
}

// setter notes who has set the wall clock in this boot, unless that is known.
func (c *clock) setter(by string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.setBy == "" {
		c.setBy = by
	}
}

// askChrony waits for an answer, so it is not for Stamp.
func (c *clock) askChrony(ctx context.Context) {
	if c.Stamp().Clock != session.ClockSynced && c.chrony(ctx) {
		c.setter("chrony")
	}
}

// setFloor takes t for the last good time, unless it is before any build.
func (c *clock) setFloor(t time.Time) {
	if t.Before(builtAfter) {
		t = builtAfter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor = t
}

// uptime is CLOCK_BOOTTIME, which goes on in suspend and never steps.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("no CLOCK_BOOTTIME: " + err.Error()) // Linux has had it since 2.6.39
	}
	return time.Duration(ts.Nano())
}

// timesynced is touched by systemd-timesyncd at each synchronisation of a boot.
// The unit's sandbox forbids adjtimex, so this comes first.
const timesynced = "/run/systemd/timesync/synchronized"

func kernelSource() string {
	if _, err := os.Stat(timesynced); err == nil {
		return "timesyncd"
	}
	var tx unix.Timex
	if state, err := unix.Adjtimex(&tx); err == nil && state != unix.TIME_ERROR {
		return "kernel"
	}
	return ""
}

// Times of the ledger's ties to the wall clock.
const (
	anchorEvery = 24 * time.Hour
	chronyEvery = 10 * time.Second // while nobody is known to have set the clock
	floorEvery  = time.Hour
	// stepped is more than a clock that chrony keeps is off.
	stepped = time.Second
)

// timekeeper says when the boot's own time is to be tied to the wall clock
// again. The zero value has not done so yet.
type timekeeper struct {
	anchor  session.Stamp // the last one
	floorAt time.Duration // Up at which the last good time was kept
	askAt   time.Duration // Up at which chrony is to be asked
}

// newTimekeeper goes on from the last anchor of this boot that the ledger has: a
// restart of the daemon is no first synchronisation, and a clock that was set in
// this boot is, whatever the kernel has forgotten since.
func (g *gateway) newTimekeeper() *timekeeper {
	last, ok, err := g.ledger.LastAnchor(g.clock.bootID)
	if err != nil {
		g.log.Warn("ties to the clock not read", "err", err)
	}
	if ok {
		g.clock.setter(last.Source)
	}
	return &timekeeper{anchor: last.At}
}

// due is why an anchor is due, "" if none is; floor, whether the last good time
// is to be kept.
func (k *timekeeper) due(now session.Stamp) (why string, floor bool) {
	if now.Clock != session.ClockSynced {
		return "", false
	}
	switch {
	case k.anchor.BootID == "":
		why = "first"
	case !now.Agrees(k.anchor):
		why = "step"
	case now.Up-k.anchor.Up >= anchorEvery:
		why = "daily"
	}
	if why != "" {
		k.anchor = now
	}
	if why == "" && now.Up-k.floorAt < floorEvery {
		return "", false
	}
	k.floorAt = now.Up
	return why, true
}

// keepTime looks at the clock once: see timekeeper.
func (g *gateway) keepTime(ctx context.Context, k *timekeeper) {
	if up := g.clock.up(); up >= k.askAt {
		k.askAt = up + chronyEvery
		g.clock.askChrony(ctx)
	}
	now := g.clock.Stamp()
	why, floor := k.due(now)
	if why != "" {
		g.log.Info("clock known", "why", why, "wall", now.Wall.UTC())
		g.ctl.Record(session.ClockAnchor{At: now, Source: g.clock.settler(), Why: why})
	}
	if !floor {
		return
	}
	g.clock.setFloor(now.Wall)
	if err := g.ledger.SetFloor(ctx, now.Wall); err != nil {
		g.log.Warn("last good time not kept", "err", err)
	}
}
