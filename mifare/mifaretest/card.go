package mifaretest

import (
	"math/rand/v2"
	"time"

	"badged/mifare"
)

// Spec says what a virtual card is. Its zero value is a mute Classic-less card
// with an all-zero single-size UID; start from Lookup for a whole one.
type Spec struct {
	// UID is what it gives in anticollision; the zero UID stands for 00000000.
	UID mifare.UID
	// RandomUID makes a new 4-byte UID, 08xxxxxx, at every power-up.
	RandomUID bool
	// ATQA is usually two bytes; another number makes a malformed card.
	ATQA []byte
	// SAK is that of the last cascade level; the levels before say 04.
	SAK byte
	// SAKs overrides SAK level by level; its last one holds for all further levels.
	SAKs []byte
	// ATS with TL and without CRC_A; empty: RATS is a wrong command.
	ATS []byte
	// ATSAfter delays the ATS beyond the shortest frame delay time.
	ATSAfter time.Duration
	// Version is the whole answer to GetVersion: 8 bytes of an Ultralight or
	// NTAG, or the three frames of a DESFire or Plus joined.
	Version []byte
	// Blocks is the size of a Classic memory: 20, 64, 72, 128 or 256; 0: none.
	Blocks int
	// Pages is the size of an Ultralight memory; 0: none.
	Pages int
	// Backdoor makes a gen1a: 40 (7 bits) and 43 open the memory without a key.
	Backdoor bool
	// BadBCC and BadCRC spoil every BCC, and the CRC_A of every SAK.
	BadBCC, BadCRC bool
}

// state of ISO/IEC 14443-3, 6.3. The starred states are ready and active with
// Card.star set.
type state int

const (
	powerOff state = iota
	idle
	ready
	active
	halt
	protocol
	backdoor // of a gen1a, after 40; not in the standard
)

// Card is a virtual PICC. Like every PICC it belongs to one goroutine.
type Card struct {
	spec  Spec
	uid   []byte
	rand  *rand.Rand
	state state
	star  bool // woken out of HALT: falls back to HALT, not to IDLE
	level int  // cascade levels done

	tcl     link
	classic *memory
	pages   []byte
}

var _ PICC = (*Card)(nil)

// New returns the card that s describes, without power.
func New(s Spec) *Card {
	c := &Card{spec: s, uid: s.UID.Bytes()}
	if len(c.uid) == 0 {
		c.uid = make([]byte, 4)
	}
	c.rand = rand.New(rand.NewPCG(uint64(c.uid[1]), uint64(c.uid[3])))
	if s.Blocks > 0 {
		c.classic = newMemory(s, c.uid)
	}
	c.pages = newPages(s.Pages, c.uid)
	return c
}

// UID is the UID that the card gives at present.
func (c *Card) UID() mifare.UID {
	u, _ := mifare.NewUID(c.uid) // 4, 7 or 10 bytes by construction
	return u
}

// State names the card's state as the standard does: POWER-OFF, IDLE, READY,
// READY*, ACTIVE, ACTIVE*, HALT, PROTOCOL.
func (c *Card) State() string {
	name := [...]string{"POWER-OFF", "IDLE", "READY", "ACTIVE", "HALT", "PROTOCOL", "BACKDOOR"}[c.state]
	if c.star && (c.state == ready || c.state == active) {
		name += "*"
	}
	return name
}

// Power implements PICC.
func (c *Card) Power(on bool) {
	switch {
	case !on:
		c.enter(powerOff)
	case c.state == powerOff:
		c.enter(idle)
		if c.spec.RandomUID {
			r := c.rand.Uint32()
			c.uid = []byte{0x08, byte(r), byte(r >> 8), byte(r >> 16)}
		}
	}
}

// enter leaves behind whatever the state before had.
func (c *Card) enter(s state) {
	c.state, c.level, c.tcl = s, 0, link{}
	if s != ready && s != active {
		c.star = false
	}
	if c.classic != nil {
		c.classic.close()
	}
}

// Answer implements PICC.
func (c *Card) Answer(f Frame) (Reply, bool) {
	switch {
	case c.state == powerOff || f.Bits < 1 || f.Bits > 8*len(f.Data):
		return Reply{}, false
	case c.classic != nil && c.classic.cipher != nil:
		return c.secured(f)
	case f.Bits == 7:
		return c.short(f.Data[0] & 0x7F)
	case !parityGood(f):
		return c.wrong()
	}
	switch c.state {
	case ready:
		return c.anticollision(f)
	case active:
		return c.command(f)
	case protocol:
		return c.block(f)
	case backdoor:
		return c.magic(f)
	}
	return Reply{}, false // IDLE and HALT hear short frames only
}

// wrong is what a PICC does with a frame it does not expect: it falls back, in
// silence (ISO/IEC 14443-3, figure 7). In PROTOCOL it stays where it is.
func (c *Card) wrong() (Reply, bool) {
	switch {
	case c.state == protocol || c.state == idle || c.state == halt:
	case c.star:
		c.enter(halt)
	default:
		c.enter(idle)
	}
	return Reply{}, false
}

// short answers REQA (26), WUPA (52), and a gen1a's 40.
func (c *Card) short(v byte) (Reply, bool) {
	resting := c.state == idle || c.state == halt
	switch {
	case resting && v == 0x52, c.state == idle && v == 0x26:
		star := c.state == halt
		c.enter(ready)
		c.star = star
		return bytesReply(c.spec.ATQA...), len(c.spec.ATQA) > 0
	case resting && v == 0x40 && c.spec.Backdoor:
		c.enter(backdoor)
		return nibbleReply(ack), true
	}
	return c.wrong()
}

// command answers in ACTIVE what the kind of card knows.
func (c *Card) command(f Frame) (Reply, bool) {
	b, ok := body(f)
	switch {
	case !ok:
		return c.wrong()
	case len(b) == 2 && b[0] == 0x50 && b[1] == 0:
		c.enter(halt)
		return Reply{}, false
	case len(b) == 2 && b[0] == 0xE0 && len(c.spec.ATS) > 0:
		return c.rats(b[1])
	case len(b) == 2 && (b[0] == 0x60 || b[0] == 0x61) && c.classic != nil:
		return c.authenticate(b[0], b[1])
	case c.pages != nil:
		return c.ultralight(b)
	}
	return c.wrong()
}
