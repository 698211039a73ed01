package readertest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"badged/mifare/mifaretest"
)

// Opts are the chip's and its surroundings' properties; the zero value is a
// version 2.0 chip in virtual time.
type Opts struct {
	// Version is VersionReg; 0 is 0x92, an MFRC522 version 2.0. 0x91, 0x90 and 0x88
	// (FM17522) pass their self test too, any other fails it.
	Version byte
	// RealTime makes the chip's time the machine's. Else it passes only in
	// transfers, Sleep and WaitForEdge.
	RealTime bool
	// TransferCost is what one Tx or TxPackets costs before its first bit; 0 is
	// 30 µs, a small ioctl on a Raspberry Pi. In real time Port sleeps for what a
	// transfer would have taken, or a little more, and so does a socket.
	TransferCost time.Duration
	// StartUp is how long a PICC needs from field on to hearing; 0 is 300 µs. ISO/IEC
	// 14443-3, 5, allows 5 ms. That common cards are faster follows from drivers
	// that read them though they send REQA eleven transfers after field on.
	StartUp time.Duration
	// Hold is how long a PICC lives on without a field; 0 is 200 µs. ISO/IEC 14443-3
	// lets it keep its state for up to 5 ms. The same drivers reset the chip between
	// the REQA that finds a card and the next one; were it still READY, it would not
	// answer.
	Hold time.Duration
	// AbsoluteCollPos makes CollPos count from the start of the cascade level, as
	// some drivers believe. The default counts in the received bytes including
	// RxAlign, as NXP's own software does.
	AbsoluteCollPos bool
	// Violation is called for everything that the data sheet forbids, with the
	// bus held: it must not use the chip. Violations keeps them in any case.
	Violation func(string)
	// Trace is called for every frame on the air when it ends, with the bus held.
	Trace func(Air)
}

// Air is one frame that was on the air. Start and End are the edges of its
// start of communication and of its last bit.
type Air struct {
	Start, End time.Duration
	PCD        bool // sent by the chip, else by a PICC
	Frame      mifaretest.Frame
}

// Stats count since New.
type Stats struct {
	Transfers int // calls of Tx and TxPackets: ioctls on Linux
	Windows   int // times that chip select went low
	Bytes     int // bytes clocked, address bytes included
	Frames    int // RF frames sent by the chip
}

// Chip is an MFRC522 with its RF field.
type Chip struct {
	opts Opts
	clk  clock

	transfers, windows, bytes, frames atomic.Int64

	vmu        sync.Mutex
	violations []string

	mu     sync.Mutex // the bus, and all below
	regs   [64]byte
	buffer [25]byte // of Mem and GenerateRandomID
	rnd    *rand.Rand

	fifo    [fifoSize]byte
	fifoLen int
	hi, lo  bool // HiAlert and LoAlert as last seen

	inReset  bool          // NRSTPD is low
	readyAt  time.Duration // start-up after a hard reset ends
	wakeAt   time.Duration // wake-up from soft power-down ends; 0: not waking
	tested   bool          // a self test ran: the RF part needs a reset
	run      uint64        // counts command starts, so that events know theirs
	modem    modemState
	auth     auth
	cipher   *mifaretest.Crypto1 // set while MFCrypto1On
	timer    timer
	air      air
	rx       []byte // bytes of a reception, reused
	window   window
	owed     time.Duration // what a transfer should have taken, in real time
	faults   faults
	pinReset resetPin
	pinIRQ   irqPin
}

// New returns a chip that is powered and started up, with an empty field.
func New(o Opts) *Chip {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.TransferCost, 30*time.Microsecond)
	def(&o.StartUp, 300*time.Microsecond)
	def(&o.Hold, 200*time.Microsecond)
	if o.Version == 0 {
		o.Version = 0x92
	}
	c := &Chip{opts: o, rnd: rand.New(rand.NewPCG(0x522, uint64(o.Version)))}
	if o.RealTime {
		c.clk.start = time.Now()
	}
	c.pinReset = resetPin{c: c, level: true}
	c.pinIRQ = irqPin{c: c, wake: make(chan struct{}, 1)}
	c.resetRegisters()
	return c
}

// Now is the chip's time since New.
func (c *Chip) Now() time.Duration { return c.clk.time() }

// Sleep lets d pass: it advances virtual time, or sleeps.
func (c *Chip) Sleep(d time.Duration) {
	if c.opts.RealTime {
		time.Sleep(d)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.now() + d)
}

// At runs f once when the chip's time reaches t, in the middle of a transfer or
// a frame if need be. In real time that is when the chip is next looked at.
func (c *Chip) At(t time.Duration, f func()) {
	c.clk.schedule(event{at: t, f: f})
}

// Stats returns the counts.
func (c *Chip) Stats() Stats {
	return Stats{
		Transfers: int(c.transfers.Load()), Windows: int(c.windows.Load()),
		Bytes: int(c.bytes.Load()), Frames: int(c.frames.Load()),
	}
}

// maxViolations bounds what Violations keeps.
const maxViolations = 1000

// Violations returns what the data sheet forbids and the host did all the same,
// oldest first; past a thousand they are no longer kept.
func (c *Chip) Violations() []string {
	c.vmu.Lock()
	defer c.vmu.Unlock()
	return append([]string(nil), c.violations...)
}

func (c *Chip) violate(format string, a ...any) {
	s := fmt.Sprintf(format, a...)
	c.vmu.Lock()
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations, s)
	}
	c.vmu.Unlock()
	if c.opts.Violation != nil {
		c.opts.Violation(s)
	}
}

func (c *Chip) now() time.Duration { return c.clk.stand() }

// advance lets time pass to until and whatever happens on the way happen.
func (c *Chip) advance(until time.Duration) {
	for {
		e, ok := c.clk.pop(until)
		if !ok {
			break
		}
		c.happen(e)
	}
	c.wakeUp()
}

// catchUp brings a real-time chip to the present and runs what is due.
func (c *Chip) catchUp() { c.advance(c.clk.time()) }

func (c *Chip) happen(e event) {
	switch e.kind {
	case evFunc:
		e.f()
	case evTxEnd:
		c.txEnd(e.id)
	case evRxStart:
		c.rxStart(e.id)
	case evRxBit5:
		c.rxBit5(e.id)
	case evRxEnd:
		c.rxEnd(e.id)
	case evTimer:
		c.timerZero(e.id)
	case evAuth:
		c.authAnswer(e.id)
	}
	c.settle()
}

// settle latches the FIFO's alerts and moves the IRQ pin after anything that may
// have changed them.
func (c *Chip) settle() {
	hi, lo := c.hiAlert(), c.loAlert()
	if hi && !c.hi {
		c.regs[comIrqReg] |= irqHi
	}
	if lo && !c.lo {
		c.regs[comIrqReg] |= irqLo
	}
	c.hi, c.lo = hi, lo
	c.pinIRQ.follow()
}

// fail sets bits of ErrorReg and tells ErrIRq.
func (c *Chip) fail(bits byte) {
	c.regs[errorReg] |= bits
	c.regs[comIrqReg] |= irqErr
}

// startUpTime is 1024 clocks of the crystal (8.7.2, 8.8.1).
const startUpTime = 37_740 * time.Nanosecond

// resetRegisters is a soft reset: the 25-byte buffer survives (10.3.1.10).
func (c *Chip) resetRegisters() {
	c.run++
	c.regs = resetValues
	c.fifoLen, c.hi, c.lo = 0, false, true
	c.modem, c.cipher, c.auth = modemIdle, nil, auth{}
	c.timer = timer{id: c.timer.id + 1}
	c.wakeAt, c.tested = 0, false
	c.fieldChanged()
	c.settle()
}

// hardReset is power-on or NRSTPD: everything goes, and the chip is deaf until
// its crystal runs.
func (c *Chip) hardReset() {
	c.buffer = [25]byte{}
	c.resetRegisters()
	c.window = window{}
	c.readyAt = c.now() + startUpTime
}

// asleep tells whether the chip takes nothing from the bus.
func (c *Chip) asleep() bool { return c.inReset || c.now() < c.readyAt }
