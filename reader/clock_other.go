//go:build !linux

package reader

import "time"

// machineClock is the clock of the machine.
type machineClock struct{ start time.Time }

func newMachineClock() Clock { return machineClock{time.Now()} }

func (c machineClock) Now() time.Duration    { return time.Since(c.start) }
func (c machineClock) Sleep(d time.Duration) { time.Sleep(d) }
