package reader

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"periph.io/x/conn/v3/physic"
)

const (
	// escalation is how soon after a repair the next Fault calls for a stronger
	// remedy.
	escalation = 5 * time.Second
	// lostAfter is how long the reader may be broken before Lost.
	lostAfter = 2 * time.Second
	// While broken, it is probed after firstBackOff, doubling to maxBackOff.
	firstBackOff = 20 * time.Millisecond
	maxBackOff   = 500 * time.Millisecond
	// reopenInterval is how often the wires of a chip that does not answer are
	// opened anew; wires that the operating system refuses are at every attempt.
	reopenInterval = 5 * time.Second
)

// The rungs of the ladder, weakest remedy first.
const (
	rungIgnore = iota
	rungQuiet
	rungField
	rungSoft
	rungHard
	rungSlow
	rungReopen
	rungs
)

// remedy is a rung. Each takes at most about 100 ms, Opts.Reopen apart.
type remedy struct {
	name string
	try  func(*Dev) error
}

var ladder = [rungs]remedy{
	rungIgnore: {"ignored", func(*Dev) error { return nil }}, // one damaged transfer
	rungQuiet:  {"stopped", (*Dev).quiet},
	rungField:  {"field-cycle", (*Dev).fieldCycle},
	rungSoft:   {"soft-reset", (*Dev).softStart},
	rungHard:   {"hard-reset", (*Dev).hardStart},
	rungSlow:   {"slow-down", (*Dev).slowStart},
	rungReopen: {"reopen", (*Dev).reopen},
}

// repair climbs the ladder until the configuration reads back right. A Fault
// soon after the last repair starts one rung above it; past the last one, or if
// nothing helps, the reader is down.
func (d *Dev) repair(cause error) {
	d.note(cause)
	defer d.checkLost()
	if errors.Is(cause, errHot) {
		d.down()
		return
	}
	if d.clock.Now()-d.repaired > escalation {
		d.rung = rungIgnore
	}
	for d.rung < d.top() {
		r := d.rung
		d.rung++
		d.tried[r]++
		if ladder[r].try(d) != nil || d.verify() != nil {
			continue
		}
		d.repaired = d.clock.Now()
		if r > rungIgnore {
			d.events = append(d.events, Recovered{Err: cause, Step: ladder[r].name})
		}
		return
	}
	d.down()
}

// top is the number of rungs that there are.
func (d *Dev) top() int {
	if d.opts.Reopen == nil {
		return rungReopen
	}
	return rungs
}

// down gives up until the next attempt of revive, later each time.
func (d *Dev) down() {
	d.up = false
	d.backOff = min(max(2*d.backOff, firstBackOff), maxBackOff)
}

// note remembers a Fault.
func (d *Dev) note(err error) {
	d.count.Faults++
	d.lastErr, d.lastErrAt = err, d.clock.Now()
	if d.state == StateReady {
		d.state, d.downSince = StateTrouble, d.clock.Now()
	}
}

// checkLost tells when the reader has been broken for long.
func (d *Dev) checkLost() {
	down := d.clock.Now() - d.downSince
	if d.state == StateLost || down < lostAfter {
		return
	}
	d.state = StateLost
	d.events = append(d.events, Lost{Err: d.lastErr, Down: down})
}

// working notes a poll without a Fault. That the reader works is told before what
// it has read.
func (d *Dev) working() {
	if !d.started {
		d.started = true
		name, genuine := chipName(d.version37)
		d.events = slices.Insert(d.events, 0, Event(Started{Chip: name, Genuine: genuine, SelfTest: d.selfTest}))
	}
	if d.state == StateLost {
		d.events = slices.Insert(d.events, 0, Event(Back{Down: d.clock.Now() - d.downSince}))
	}
	if d.state != StateReady {
		d.refreshIn = firstRefresh
		d.refreshAt = d.clock.Now() + d.refreshIn
	}
	d.state, d.backOff = StateReady, 0
}

// revive makes one attempt to bring up a reader that is down.
func (d *Dev) revive() {
	step, err := "start", d.cooled()
	if err == nil {
		err = d.bringUp()
	}
	if d.reopenDue(err) {
		step = ladder[rungReopen].name
		d.tried[rungReopen]++
		err = d.reopen()
	}
	if err == nil {
		err = d.firstTest()
	}
	switch {
	case err != nil:
		d.note(err)
		d.down()
		d.checkLost()
	case d.state == StateTrouble:
		d.events = append(d.events, Recovered{Err: d.lastErr, Step: step})
	}
}

// reopenDue tells whether err calls for other wires.
func (d *Dev) reopenDue(err error) bool {
	var f *Fault
	if d.opts.Reopen == nil || !errors.As(err, &f) || f.Kind == FaultHeat {
		return false
	}
	return f.Kind == FaultSPI || f.Kind == FaultPin || d.clock.Now()-max(d.reopened, d.downSince) >= reopenInterval
}

// reopen opens the wires anew and brings up the chip at their end.
func (d *Dev) reopen() error {
	d.reopened = d.clock.Now()
	d.bus.conn = nil // Reopen closes it first; periph's panics when it is used then
	w, err := d.opts.Reopen()
	if err == nil {
		err = d.connect(w)
	}
	if err != nil {
		return &Fault{Kind: FaultSPI, Err: fmt.Errorf("open the bus anew: %w", err)}
	}
	return d.bringUp()
}

// cooled waits out an overheating: MFRC522 rev. 3.9, 9.3.1.9. A reset would only
// hide it.
func (d *Dev) cooled() error {
	if !errors.Is(d.lastErr, errHot) {
		return nil
	}
	d.bus.write(status2Reg, tempClear)
	d.bus.read(errorReg)
	got, err := d.bus.do()
	if err == nil && got[0]&errTemp != 0 {
		err = errHot
	}
	return err
}

// bringUp resets and configures the chip at the highest speed at which it
// answers reliably.
func (d *Dev) bringUp() error {
	var first error
	for _, f := range []physic.Frequency{d.opts.MaxSpeed, 4 * physic.MegaHertz, physic.MegaHertz} {
		if first != nil && f >= d.opts.MaxSpeed {
			continue
		}
		err := d.setSpeed(f)
		if err == nil {
			err = d.hardStart()
		}
		if err == nil {
			d.up = true
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}
