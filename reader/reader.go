package reader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"badged/mifare"
)

// Clock is how the driver tells time and waits; an emulated chip brings its own.
type Clock interface {
	Now() time.Duration // since any fixed moment, never backwards
	Sleep(time.Duration)
}

// Opts are the options of New. A zero field takes its value from DefaultOpts.
type Opts struct {
	// MaxSpeed of the SPI clock, 100 kHz to 10 MHz. A bus that fails is tried at
	// 4 and 1 MHz, if the port has LimitSpeed.
	MaxSpeed physic.Frequency
	// GainDB of the receiver: 18, 23, 33, 38, 43 or 48. More is not better: 48
	// saturates with a card on the coil.
	GainDB int
	// Poll is the time from one poll to the next, 5 ms to 1 s.
	Poll time.Duration
	// Reset is the pin at RST (NRSTPD); nil if not wired.
	Reset gpio.PinOut
	// IRQ is the pin at IRQ; nil if not wired. It only shortens some waits.
	IRQ gpio.PinIn
	// Clock is the time; nil for the machine's.
	Clock Clock
	// Reopen closes the wires and opens them anew, for a bus whose device went away;
	// nil if that cannot be. Run calls it as the last remedy, at most twice a second.
	Reopen func() (Wires, error)
	// Alive is called by Run at every turn, a few times a second at least, also while
	// the chip is lost; it must not block. It may be nil.
	Alive func()
	// PlusATS asks cards with the SAK of a MIFARE Classic for their ATS too,
	// which tells MIFARE Plus in security level 1; costs 6 ms a tap.
	PlusATS bool
}

// Wires lead to a chip; see Opts for the pins.
type Wires struct {
	Port  spi.Port
	Reset gpio.PinOut
	IRQ   gpio.PinIn
}

// DefaultOpts are good for most boards and cables.
var DefaultOpts = Opts{MaxSpeed: 4 * physic.MegaHertz, GainDB: 33, Poll: 40 * time.Millisecond}

// Dev is an MFRC522. Its methods may be called from any goroutine; each waits
// for a poll that is under way, Health does not.
type Dev struct {
	opts  Opts
	clock Clock

	mu    sync.Mutex // guards the chip and everything below
	wires Wires
	bus   bus
	tx    [fifoSize]byte
	regs  [fifoSize + 16]byte
	// slack is how long to wait beyond the computed end of an answer.
	slack time.Duration
	// absoluteColl is set when the chip counts CollPos from the level's start.
	absoluteColl bool

	up        bool   // configured and verified
	version37 byte   // VersionReg
	shadow    shadow // configuration as read back after it was written
	speed     physic.Frequency

	held     []held
	events   []Event
	fails    int // polls in a row in which no card could be read though somebody answered
	misread  misread
	stranger stranger

	refreshAt, refreshIn time.Duration // when to configure the idle chip again, and after how long

	state     State
	downSince time.Duration // first Fault of this outage, while state is not ready
	backOff   time.Duration // between attempts while down
	rung      int           // where to start on the ladder
	repaired  time.Duration // when the ladder last helped
	reopened  time.Duration // when the wires were last opened anew
	selfTest  string        // see Health.SelfTest
	started   bool          // Started was told
	lastErr   error
	lastErrAt time.Duration
	count     Counters
	tried     [rungs]uint64

	published struct {
		sync.Mutex
		Health
	}
}

// New returns the reader on p. It connects p and sets up the pins but does not
// talk to the chip: one that does not answer may do so later, which is for Run.
// An error means bad options, or a port or pin that cannot be used.
func New(p spi.Port, o Opts) (*Dev, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("mfrc522: %w", err)
	}
	d := &Dev{opts: o, clock: o.Clock, slack: minSlack, state: StateStarting}
	if err := d.connect(Wires{Port: p, Reset: o.Reset, IRQ: o.IRQ}); err != nil {
		return nil, fmt.Errorf("mfrc522: %w", err)
	}
	d.held = make([]held, 0, maxCards)
	d.published.Recoveries = map[string]uint64{}
	d.downSince = d.clock.Now()
	d.refreshIn, d.refreshAt = firstRefresh, d.downSince+firstRefresh
	d.publish()
	return d, nil
}

// connect takes w into use.
func (d *Dev) connect(w Wires) error {
	c, err := w.Port.Connect(d.opts.MaxSpeed, spi.Mode0, 8)
	if err != nil {
		return fmt.Errorf("connect %v: %w", w.Port, err)
	}
	if w.IRQ != nil {
		if err := w.IRQ.In(gpio.PullUp, gpio.FallingEdge); err != nil {
			return fmt.Errorf("set up IRQ pin %v: %w", w.IRQ, err)
		}
	}
	d.wires, d.bus.conn, d.speed = w, c, d.opts.MaxSpeed
	return nil
}

// complete fills in defaults and checks ranges.
func (o *Opts) complete() error {
	if o.MaxSpeed == 0 {
		o.MaxSpeed = DefaultOpts.MaxSpeed
	}
	if o.GainDB == 0 {
		o.GainDB = DefaultOpts.GainDB
	}
	if o.Poll == 0 {
		o.Poll = DefaultOpts.Poll
	}
	if o.Clock == nil {
		o.Clock = newMachineClock()
	}
	if o.Alive == nil {
		o.Alive = func() {}
	}
	if o.MaxSpeed < 100*physic.KiloHertz || o.MaxSpeed > 10*physic.MegaHertz {
		return fmt.Errorf("SPI speed %v, want 100 kHz to 10 MHz", o.MaxSpeed)
	}
	if o.Poll < 5*time.Millisecond || o.Poll > time.Second {
		return fmt.Errorf("poll interval %v, want 5 ms to 1 s", o.Poll)
	}
	return checkGain(o.GainDB)
}

func checkGain(dB int) error {
	if _, ok := gains[dB]; !ok {
		return fmt.Errorf("gain %d dB, want 18, 23, 33, 38, 43 or 48", dB)
	}
	return nil
}

// Run polls until ctx ends and then returns nil. It calls handle from its own
// goroutine, which should return within a poll interval. A reader that breaks is
// an event, not an error: Run goes on until it is back.
func (d *Dev) Run(ctx context.Context, handle func(Event)) error {
	for ctx.Err() == nil {
		d.opts.Alive()
		events, wait := d.cycle()
		for _, e := range events {
			handle(e)
		}
		d.pause(ctx, wait)
	}
	return nil
}

// cycle does one poll, or one attempt to bring the reader back, and returns what
// there is to tell and how long to wait for the next.
func (d *Dev) cycle() ([]Event, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	d.events = d.events[:0]
	began := d.clock.Now()
	if !d.up {
		d.revive()
		return d.events, d.rest()
	}
	if err := d.poll(); err != nil {
		d.repair(err)
		return d.events, d.rest()
	}
	d.working()
	return d.events, d.opts.Poll - (d.clock.Now() - began)
}

// rest is how long to wait after a Fault: not at all if it was repaired.
func (d *Dev) rest() time.Duration {
	if d.up {
		return 0
	}
	return d.backOff
}

// pause waits for wait in pieces, so that the end of ctx is noticed soon.
func (d *Dev) pause(ctx context.Context, wait time.Duration) {
	const piece = 50 * time.Millisecond
	for end := d.clock.Now() + wait; ctx.Err() == nil; {
		left := end - d.clock.Now()
		if left <= 0 {
			return
		}
		d.clock.Sleep(min(left, piece))
	}
}

// Scan finds everything in the field, once: for doctors and benchmarks, beside
// or instead of Run. It switches the field off and on before and after, so that
// no card stays unseen. An empty field is no error; cards that were found come
// with an error too: a Fault, or what made others unreadable.
func (d *Dev) Scan() ([]mifare.Card, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	return d.scan()
}

func (d *Dev) scan() ([]mifare.Card, error) {
	if !d.up {
		if err := d.bringUp(); err != nil {
			return nil, err
		}
	}
	if err := d.fieldCycle(); err != nil {
		return nil, d.unproven(err)
	}
	var cards []mifare.Card
	err := d.enumerate(wupa, nil, func(p picc) bool {
		for _, c := range cards {
			if c.UID == p.card.UID {
				return false
			}
		}
		cards = append(cards, p.card)
		return true
	})
	return cards, d.unproven(errors.Join(err, d.fieldCycle()))
}

// Halt switches the field off. Run and Scan switch it on again.
func (d *Dev) Halt() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up = false
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(txControlReg, antennaOff)
	_, err := d.bus.do()
	return err
}

// unproven notes that a chip after a Fault has to be brought up again.
func (d *Dev) unproven(err error) error {
	if broken(err) {
		d.up = false
	}
	return err
}

// SetGain changes the receiver's gain at once: see Opts.GainDB.
func (d *Dev) SetGain(dB int) error {
	if err := checkGain(dB); err != nil {
		return fmt.Errorf("mfrc522: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	return d.setGain(dB)
}

func (d *Dev) setGain(dB int) error {
	d.opts.GainDB = dB
	if !d.up {
		return nil // the next bringUp sets it
	}
	return d.unproven(d.configure())
}
