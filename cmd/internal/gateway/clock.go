package gateway

import (
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
	// isSynced asks the kernel whether a time source has set the wall clock.
	isSynced func() bool

	mu     sync.Mutex
	synced bool      // once in this boot is enough: see Stamp
	floor  time.Time // the last good time, which the wall clock cannot be before
}

// builtAfter is earlier than any build of this software: a wall clock before it
// is certainly wrong.
var builtAfter = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// newClock takes the boot's id from BADGED_BOOT_ID where a sandbox hides /proc.
func newClock(floor time.Time) *clock {
	id := os.Getenv("BADGED_BOOT_ID")
	if id == "" {
		b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		id = strings.TrimSpace(string(b))
	}
	return &clock{bootID: strings.ReplaceAll(id, "-", ""), isSynced: kernelSynced, floor: floor}
}

// Stamp is the time now. A clock that was synchronised once in this boot keeps
// that quality: the kernel forgets its own flag after some nine hours without a
// server, when the clock is still right to a second or so.
func (c *clock) Stamp() session.Stamp {
	s := session.Stamp{BootID: c.bootID, Up: uptime(), Wall: time.Now(), Clock: session.ClockUnknown}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = c.synced || c.isSynced()
	switch {
	case c.synced:
		s.Clock = session.ClockSynced
	case !c.floor.IsZero() && s.Wall.After(c.floor):
		s.Clock = session.ClockEstimated // kept by an RTC or carried over by the system
	}
	return s
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

func kernelSynced() bool {
	if _, err := os.Stat(timesynced); err == nil {
		return true
	}
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR
}
