package readertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"

	"badged/mifare/mifaretest"
)

// FaultKind names a fault.
type FaultKind string

// The faults. Reset, StuckCrypto, AntennaOff happen at a moment; the others last.
const (
	FaultReset       FaultKind = "reset"   // brown-out or EMI: everything as after power-on
	FaultMISO00      FaultKind = "miso00"  // MISO stuck low
	FaultMISOFF      FaultKind = "misoff"  // MISO stuck high
	FaultBitFlips    FaultKind = "flips"   // random bits of MISO
	FaultEIO         FaultKind = "eio"     // the host's driver refuses the transfer
	FaultStuckCrypto FaultKind = "crypto"  // MFCrypto1On set, as after an aborted authentication
	FaultAntennaOff  FaultKind = "antenna" // Tx1RFEn and Tx2RFEn cleared
	FaultTempErr     FaultKind = "temp"    // too hot: the chip switches its drivers off
	FaultDeadTimer   FaultKind = "timer"   // the timer unit never reaches zero
	FaultNoise       FaultKind = "noise"   // bursts on the air, with and without an answer
	FaultBurstBroken FaultKind = "burst"   // bytes of a burst read after the first are wrong
	FaultVersion     FaultKind = "version" // VersionReg shows a clone's Value
)

// Fault is something that goes wrong.
type Fault struct {
	Kind FaultKind
	// At is the transfer that meets it, from now; 0 is the next one.
	At int
	// Count is how many transfers it lasts; 0 is one, unless For is set.
	Count int
	// For is how long it lasts, in the chip's time, counted from its first transfer.
	For time.Duration
	// Rate is the share of bytes (BitFlips) or frames (Noise) hit; 0 is one half.
	Rate float64
	// Seed is for what is random.
	Seed uint64
	// Value is VersionReg.
	Value byte
}

// kinds has each kind with what ParseFault gives it.
var kinds = []Fault{
	{Kind: FaultReset}, {Kind: FaultStuckCrypto}, {Kind: FaultAntennaOff},
	{Kind: FaultMISO00, For: 10 * time.Second}, {Kind: FaultMISOFF, For: 10 * time.Second},
	{Kind: FaultBitFlips, For: 10 * time.Second, Rate: 0.05}, {Kind: FaultEIO, For: 10 * time.Second},
	{Kind: FaultTempErr, For: 10 * time.Second}, {Kind: FaultDeadTimer, For: 10 * time.Second},
	{Kind: FaultNoise, For: 10 * time.Second}, {Kind: FaultBurstBroken, For: 10 * time.Second},
	{Kind: FaultVersion, For: 10 * time.Second, Value: 0xB2},
}

// ParseFault returns the fault with the name of a kind; what lasts, lasts ten
// seconds.
func ParseFault(name string) (Fault, error) {
	var names []string
	for _, f := range kinds {
		if string(f.Kind) == name {
			return f, nil
		}
		names = append(names, string(f.Kind))
	}
	sort.Strings(names)
	return Fault{}, fmt.Errorf("fault %q: want one of %s", name, strings.Join(names, ", "))
}

// Faults is a random schedule of n faults of every kind, the same for the same
// seed. Each lasts some tens of transfers at most, and the last is over within
// 200·n transfers.
func Faults(seed uint64, n int) []Fault {
	r := rand.New(rand.NewPCG(seed, 0xFA17))
	out := make([]Fault, 0, max(n, 0))
	at := 0
	for range n {
		f := kinds[r.IntN(len(kinds))]
		at += r.IntN(150)
		f.At, f.For, f.Count, f.Seed = at, 0, 1+r.IntN(50), r.Uint64()
		out = append(out, f)
	}
	return out
}

// faults is guarded by the bus.
type faults struct {
	pending []planned // not yet begun
	active  []planned
}

// planned is a fault with its figures made absolute.
type planned struct {
	Fault
	from, to int64 // transfers
	until    time.Duration
	rnd      *rand.Rand
}

// Inject plans f. It may be called from anywhere.
func (c *Chip) Inject(f Fault) {
	from := c.transfers.Load() + 1 + int64(max(f.At, 0))
	if f.Rate == 0 {
		f.Rate = 0.5
	}
	c.At(c.clk.time(), func() {
		c.faults.pending = append(c.faults.pending, planned{
			Fault: f, from: from, rnd: rand.New(rand.NewPCG(f.Seed, 1)),
		})
	})
}

// Clear ends every fault and forgets the planned ones; what they did to the
// registers stays.
func (c *Chip) Clear() {
	c.At(c.clk.time(), func() { c.faults = faults{} })
}

// faultsDue begins and ends faults at a transfer.
func (c *Chip) faultsDue() {
	if len(c.faults.pending) == 0 && len(c.faults.active) == 0 {
		return
	}
	k, now := c.transfers.Load(), c.now()
	c.faults.active = slices.DeleteFunc(c.faults.active, func(p planned) bool {
		if p.For > 0 {
			return now >= p.until
		}
		return k >= p.to
	})
	c.faults.pending = slices.DeleteFunc(c.faults.pending, func(p planned) bool {
		if p.from > k {
			return false
		}
		p.to, p.until = k+int64(max(p.Count, 1)), now+p.For
		c.strike(p)
		return true
	})
	c.settle()
}

// strike does what a fault does at its first moment, and keeps one that lasts.
func (c *Chip) strike(p planned) {
	switch p.Kind {
	case FaultReset:
		c.hardReset()
	case FaultStuckCrypto:
		c.regs[status2Reg] |= bitCrypto1On
		c.cipher = mifaretest.NewCrypto1([6]byte{0x5A, 0xC3, 0x7E, 0x19, 0x84, 0x2D})
	case FaultAntennaOff:
		c.regs[txControlReg] &^= bitRFOn
		c.fieldChanged()
	case FaultTempErr:
		c.faults.active = append(c.faults.active, p)
		c.fieldChanged()
	default:
		c.faults.active = append(c.faults.active, p)
	}
}

// lasting returns a fault of kind k that is in force, or nil.
func (c *Chip) lasting(k FaultKind) *planned {
	for i := range c.faults.active {
		p := &c.faults.active[i]
		if p.Kind == k && (p.For == 0 || c.now() < p.until) {
			return p
		}
	}
	return nil
}

func (c *Chip) faulty(k FaultKind) bool { return c.lasting(k) != nil }

// onMISO is what the host sees of b.
func (c *Chip) onMISO(b byte) byte {
	if len(c.faults.active) == 0 {
		return b
	}
	if c.faulty(FaultMISO00) {
		return 0x00
	}
	if c.faulty(FaultMISOFF) {
		return 0xFF
	}
	if p := c.lasting(FaultBitFlips); p != nil && p.rnd.Float64() < p.Rate {
		b ^= 1 << p.rnd.IntN(8)
	}
	return b
}

// addNoise lets noise modulate as a PICC would, at a time of its own.
func (c *Chip) addNoise() {
	p := c.lasting(FaultNoise)
	if p == nil || p.rnd.Float64() >= p.Rate {
		return
	}
	sym := make([]symbol, 1+p.rnd.IntN(40))
	for i := range sym {
		sym[i] = symbol(1 + p.rnd.IntN(3))
	}
	start := c.air.end + fdt + time.Duration(p.rnd.IntN(300))*time.Microsecond
	c.air.answers = append(c.air.answers, answer{start: start, sym: sym})
}
