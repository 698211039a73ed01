package reader

import (
	"maps"
	"time"

	"periph.io/x/conn/v3/physic"
)

// State is whether the reader can read.
type State string

// The states of a reader.
const (
	StateStarting State = "starting" // not yet seen to work
	StateReady    State = "ready"
	StateTrouble  State = "trouble" // broken, remedies are being tried
	StateLost     State = "lost"    // broken for so long that Lost was told
)

// Health is a snapshot of a reader for status pages and doctors.
type Health struct {
	State   State
	Version byte   // VersionReg; 0 while unknown
	Chip    string // what Version stands for
	Genuine bool   // Version is one of NXP's; clones often work too
	// SelfTest is how the chip's self test came out: "passed", "failed", "no
	// reference" for a clone, or "" before it ran.
	SelfTest string
	Speed    physic.Frequency
	GainDB   int
	// SplitReads is set when the bus breaks bursts and bytes are read one by one.
	SplitReads bool
	Held       int   // cards in the field
	Err        error // the last Fault, nil if there was none; see Hint
	ErrAge     time.Duration
	Counters
	// Recoveries counts the remedies tried, by name.
	Recoveries map[string]uint64
}

// Counters count since New.
type Counters struct {
	Polls, Taps, Removals uint64
	Collisions            uint64 // collided answers, several cards
	Noise                 uint64 // damaged answers
	Retries               uint64 // activations begun again
	Unreadable            uint64 // visits of cards that cannot be read
	Faults                uint64
}

// Health returns the state as of the last poll. It may be called from any
// goroutine, and never waits for the chip.
func (d *Dev) Health() Health {
	d.published.Lock()
	defer d.published.Unlock()
	h := d.published.Health
	h.Recoveries = maps.Clone(h.Recoveries)
	return h
}

// publish makes the state visible to Health.
func (d *Dev) publish() {
	d.published.Lock()
	defer d.published.Unlock()
	h := &d.published.Health
	h.State, h.Version = d.state, d.version37
	h.Chip, h.Genuine = chipName(d.version37)
	h.SelfTest = d.selfTest
	h.Speed, h.GainDB = d.speed, d.opts.GainDB
	h.SplitReads = d.bus.split
	h.Held = len(d.held)
	h.Counters = d.count
	if h.Err = d.lastErr; h.Err != nil {
		h.ErrAge = d.clock.Now() - d.lastErrAt
	}
	for i, n := range d.tried {
		if n > 0 {
			h.Recoveries[ladder[i].name] = n
		}
	}
}
