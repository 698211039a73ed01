package main

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/control"
)

// maxHistory bounds what a world that runs for days remembers.
const maxHistory = 1 << 20

// note adds to the history what happens now; w.mu is held.
func (w *world) note(c control.Change) {
	c.AtUs = bootTime().Microseconds()
	if m := w.machines[c.Station]; m != nil {
		c.Wh = m.joules / 3600
	}
	if len(w.history) == maxHistory {
		w.history = slices.Delete(w.history, 0, maxHistory/2)
	}
	w.history = append(w.history, c)
}

func (w *world) noteCard(what, reader, uid string) {
	if reader == "" {
		reader = w.cfg.Readers[0].Name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(control.Change{What: what, Reader: reader, UID: uid})
}

// told is the history so far, and with it what every machine has drawn by now.
func (w *world) told() []control.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range names(w.machines) {
		w.note(control.Change{What: control.ChangeLoad, Station: id, Watts: w.machines[id].watts})
	}
	return slices.Clone(w.history)
}

// bootTime is this machine's CLOCK_BOOTTIME.
func bootTime() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
