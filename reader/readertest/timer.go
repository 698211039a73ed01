package readertest

import "time"

// timer is the timer unit (8.5). A running timer is its start and its figures;
// the counter is computed when somebody looks.
type timer struct {
	id      uint64 // of the last start or stop
	running bool
	repeat  bool // TAutoRestart
	start   time.Duration
	tick    int64 // carrier cycles
	reload  int64
	value   int64         // counter while stopped
	due     time.Duration // of the zero that is scheduled
}

// startTimer loads the reload value; figures written later count from the next
// start only.
func (c *Chip) startTimer() {
	r := &c.regs
	prescaler := int64(r[tModeReg]&0x0F)<<8 | int64(r[tPrescalerReg])
	t := timer{
		id: c.timer.id + 1, running: true, repeat: r[tModeReg]&0x10 != 0,
		start: c.now(), tick: 2*prescaler + 1,
		reload: int64(r[tReloadRegH])<<8 | int64(r[tReloadRegL]),
	}
	if r[demodReg]&0x10 != 0 && c.opts.Version >= 0x92 { // TPrescalEven, version 2.0 only
		t.tick++
	}
	t.due = t.start + t.period(1)
	c.timer = t
	c.clk.schedule(event{at: t.due, kind: evTimer, id: t.id})
}

// period is the time of n rounds.
func (t *timer) period(n int64) time.Duration { return cycles(n * t.tick * (t.reload + 1)) }

// stopTimer freezes the counter.
func (c *Chip) stopTimer() {
	c.timer.value = c.timerValue()
	c.timer.running = false
	c.timer.id++
}

// timerValue is TCounterVal. A dead timer hangs at its reload value.
func (c *Chip) timerValue() int64 {
	t := &c.timer
	if !t.running {
		return t.value
	}
	if c.faulty(FaultDeadTimer) {
		return t.reload
	}
	ticks := carrier(c.now()-t.start) / t.tick
	return max(0, t.reload-ticks%(t.reload+1))
}

// timerZero is the timer reaching zero: it raises TimerIRq and touches nothing
// else, a waiting Transceive least of all.
func (c *Chip) timerZero(id uint64) {
	if id != c.timer.id || !c.timer.running || c.faulty(FaultDeadTimer) {
		return
	}
	c.regs[comIrqReg] |= irqTimer
	if !c.timer.repeat {
		c.timer.running, c.timer.value = false, 0
	}
}

// rearmTimer schedules the next zero of a repeating timer. Only a cleared
// TimerIRq can tell one zero from the next, so that is when it is needed.
func (c *Chip) rearmTimer() {
	t := &c.timer
	if !t.running || !t.repeat || c.regs[comIrqReg]&irqTimer != 0 {
		return
	}
	rounds := int64((c.now() - t.start) / t.period(1))
	if due := t.start + t.period(rounds+1); due > t.due {
		t.due = due
		c.clk.schedule(event{at: due, kind: evTimer, id: t.id})
	}
}
