package readertest

import (
	"errors"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// ResetPin is NRSTPD. Low for 100 ns and more resets the chip (8.7.1), which then
// needs 37.74 µs to start up. The first Out glitches low, as a request of a GPIO
// line on Linux without an initial value does, so it resets the chip too.
func (c *Chip) ResetPin() gpio.PinOut { return &c.pinReset }

// resetPin is guarded by the bus.
type resetPin struct {
	c         *Chip
	requested bool
	level     gpio.Level
	since     time.Duration
}

func (p *resetPin) String() string   { return "NRSTPD" }
func (p *resetPin) Name() string     { return "NRSTPD" }
func (p *resetPin) Number() int      { return -1 }
func (p *resetPin) Function() string { return "Out" }
func (p *resetPin) Halt() error      { return nil }

// PWM implements gpio.PinOut.
func (p *resetPin) PWM(gpio.Duty, physic.Frequency) error {
	return errors.New("NRSTPD has no PWM")
}

// Out implements gpio.PinOut.
func (p *resetPin) Out(l gpio.Level) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.catchUp()
	if !p.requested {
		p.requested = true
		p.c.hardReset()
	}
	p.set(l)
	p.c.settle()
	return nil
}

// resetPulse is the shortest low pulse on NRSTPD that resets (8.8.2).
const resetPulse = 100 * time.Nanosecond

func (p *resetPin) set(l gpio.Level) {
	c := p.c
	switch {
	case l == p.level:
		return
	case l == gpio.Low:
		p.since = c.now()
	case c.now()-p.since < resetPulse:
		c.violate("NRSTPD low for %s, less than %s", c.now()-p.since, resetPulse)
	default:
		c.hardReset()
	}
	p.level, c.inReset = l, l == gpio.Low
	c.fieldChanged()
}

// IRQPin is the chip's IRQ output as a host's input: open drain unless
// IRQPushPull is set, so that it needs a pull-up (8.4.3). Up to 16 edges queue.
// WaitForEdge with 0 looks, with a negative time-out waits for ever, but in
// virtual time no longer than until nothing is left to happen.
func (c *Chip) IRQPin() gpio.PinIn { return &c.pinIRQ }

// irqPin is guarded by the bus; wake is stirred when a waiter should look again.
type irqPin struct {
	c     *Chip
	pull  gpio.Pull
	edge  gpio.Edge
	level gpio.Level
	edges int
	gone  int // waits that In or Halt ended
	wake  chan struct{}
}

func (p *irqPin) String() string   { return "IRQ" }
func (p *irqPin) Name() string     { return "IRQ" }
func (p *irqPin) Number() int      { return -1 }
func (p *irqPin) Function() string { return "In" }

// DefaultPull implements gpio.PinIn.
func (p *irqPin) DefaultPull() gpio.Pull { return gpio.Float }

// Pull implements gpio.PinIn.
func (p *irqPin) Pull() gpio.Pull {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.pull
}

// In implements gpio.PinIn.
func (p *irqPin) In(pull gpio.Pull, edge gpio.Edge) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.catchUp()
	if pull != gpio.PullNoChange {
		p.pull = pull
	}
	p.edge, p.edges = edge, 0
	p.level = p.c.irqLevel(p.pull)
	p.gone++
	p.stir()
	return nil
}

// Halt implements conn.Resource; it ends a wait.
func (p *irqPin) Halt() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.gone++
	p.stir()
	return nil
}

// Read implements gpio.PinIn.
func (p *irqPin) Read() gpio.Level {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.catchUp()
	return p.c.irqLevel(p.pull)
}

// WaitForEdge implements gpio.PinIn.
func (p *irqPin) WaitForEdge(timeout time.Duration) bool {
	if p.c.opts.RealTime {
		return p.waitReal(timeout)
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	deadline := p.c.now() + timeout
	for {
		if p.take() {
			return true
		}
		next, ok := p.c.clk.next()
		switch {
		case timeout < 0 && !ok:
			return false
		case timeout >= 0 && (!ok || next > deadline):
			p.c.advance(deadline)
			return p.take()
		}
		p.c.advance(next)
	}
}

// waitReal looks, and sleeps until the chip's next event, a transfer, or the end.
func (p *irqPin) waitReal(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	p.c.mu.Lock()
	gone := p.gone
	p.c.mu.Unlock()
	for {
		p.c.mu.Lock()
		p.c.catchUp()
		took, ended := p.take(), p.gone != gone
		next, ok := p.c.clk.next()
		p.c.mu.Unlock()
		left := time.Until(deadline)
		switch {
		case took:
			return true
		case ended || timeout >= 0 && left <= 0:
			return false
		}
		nap := time.Hour
		if timeout >= 0 {
			nap = left
		}
		if ok {
			nap = min(nap, max(0, next-p.c.clk.time()))
		}
		p.nap(nap)
	}
}

func (p *irqPin) nap(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.wake:
	}
}

// take consumes one queued edge.
func (p *irqPin) take() bool {
	if p.edges == 0 {
		return false
	}
	p.edges--
	return true
}

// maxEdges is the depth of the kernel's queue.
const maxEdges = 16

// follow moves the pin to what the registers say and queues the edge.
func (p *irqPin) follow() {
	l := p.c.irqLevel(p.pull)
	if l == p.level {
		return
	}
	p.level = l
	want := gpio.FallingEdge
	if l == gpio.High {
		want = gpio.RisingEdge
	}
	if p.edge&want != 0 && p.edges < maxEdges {
		p.edges++
		p.stir()
	}
}

// stir wakes a waiter in real time; it never blocks.
func (p *irqPin) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// irqRequest is IRq of Status1Reg: a request that is enabled (9.3.1.2, 9.3.1.3).
func (c *Chip) irqRequest() bool {
	return c.regs[comIrqReg]&c.regs[comIEnReg]&0x7F != 0 || c.regs[divIrqReg]&c.regs[divIEnReg]&0x14 != 0
}

// irqLevel is pin IRQ: IRq, inverted by IRqInv. An open drain that does not drive
// leaves the level to the pull-up, or low without one.
func (c *Chip) irqLevel(pull gpio.Pull) gpio.Level {
	high := c.irqRequest() != (c.regs[comIEnReg]&0x80 != 0)
	if c.asleep() {
		return pull == gpio.PullUp
	}
	if c.regs[divIEnReg]&0x80 != 0 {
		return gpio.Level(high)
	}
	return gpio.Level(high && pull == gpio.PullUp)
}
