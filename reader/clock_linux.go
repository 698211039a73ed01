package reader

import (
	"syscall"
	"time"
)

// machineClock is the clock of the machine.
type machineClock struct{ start time.Time }

func newMachineClock() Clock { return machineClock{time.Now()} }

func (c machineClock) Now() time.Duration { return time.Since(c.start) }

// Sleep waits on the thread for the air times of frames: the runtime's timers
// have the grain of epoll, a millisecond, and a tap has five of these waits.
func (c machineClock) Sleep(d time.Duration) {
	if d >= 2*time.Millisecond {
		time.Sleep(d)
		return
	}
	for end := c.Now() + d; d > 0; d = end - c.Now() {
		t := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&t, nil) // a signal ends it early; the loop goes on
	}
}
