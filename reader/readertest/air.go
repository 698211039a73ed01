package readertest

import (
	"slices"
	"time"

	"badged/mifare/mifaretest"
)

// fdt is from the last data bit of the PCD to the start of a PICC's answer: the
// frame delay time of 1172/fc after a last bit 0, or 1236/fc after a 1, counts
// from the end of the last pause (ISO/IEC 14443-3, 6.2.1.1). A 0 has its pause at
// the start of the end of communication, a 1 half a bit earlier, so both come to
// 1172/fc and the length of a pause, here 32/fc.
const fdt = (1172 + 32) * time.Second / fc

// guard is the shortest time from a PICC's last modulation to the next PCD frame
// (6.2.1.2).
const guard = 1172 * time.Second / fc

// air is the RF field: who is in it, and the exchange that is going on.
type air struct {
	on    bool
	since time.Duration
	cards []*picc

	id         uint64 // of the exchange
	run        uint64 // the command start that sent it
	deaf       bool   // nobody listened when it began
	data       []byte // reused
	frame      mifaretest.Frame
	start, end time.Duration
	answers    []answer
	first      time.Duration // the earliest answer's start
	busyUntil  time.Duration // the latest PICC's end
	hears      uint64        // the command start whose receiver took up the answer
	sym        []symbol      // reused
}

// answer is one PICC's modulation.
type answer struct {
	from  *picc // nil: noise
	frame mifaretest.Frame
	start time.Duration
	sym   []symbol
	cut   bool // the card lost power at until
	until time.Duration
}

// at is the answer's symbol in bit i after start.
func (a *answer) at(start time.Duration, i int) symbol {
	k := i - int((a.start-start+etu(1)/2)/etu(1))
	if k < 0 || k >= len(a.sym) || a.cut && a.start+etu(k) >= a.until {
		return symNone
	}
	return a.sym[k]
}

// transmit puts a plain frame on the air, through the cipher if it is on.
func (c *Chip) transmit(f mifaretest.Frame) {
	if c.regs[status2Reg]&bitCrypto1On != 0 {
		f = c.cipher.Encrypt(f)
	}
	c.transmitRaw(f)
}

func (c *Chip) transmitRaw(f mifaretest.Frame) {
	a := &c.air
	c.frames.Add(1)
	a.id++
	a.run, a.frame, a.start = c.run, f, c.now()
	a.end = a.start + etu(1+f.Bits+f.Bits/8)
	a.deaf = !c.hearable()
	if a.busyUntil > 0 && a.start < a.busyUntil+guard {
		a.deaf = true
		if a.start >= a.busyUntil { // else the PCD gave up waiting, which it may
			c.violate("PCD frame within 1172/fc of a PICC's answer")
		}
	}
	c.modem = modemSending
	c.clk.schedule(event{at: a.end, kind: evTxEnd, id: a.id})
}

// hearable tells whether PICCs of type A at 106 kBd understand what is sent, and
// the receiver them.
func (c *Chip) hearable() bool {
	return c.air.on && !c.tested && c.regs[txASKReg]&0x40 != 0 &&
		c.regs[txModeReg]&0x78 == 0 && c.regs[rxModeReg]&0x70 == 0
}

// txEnd is the last bit of a PCD frame, unless the command ended before it.
func (c *Chip) txEnd(id uint64) {
	a := &c.air
	if id != a.id || a.run != c.run {
		return
	}
	if c.regs[tModeReg]&0x80 != 0 { // TAuto
		c.startTimer()
	}
	c.trace(Air{Start: a.start, End: a.end, PCD: true, Frame: a.frame})
	switch c.command() {
	case cmdTransmit:
		c.regs[comIrqReg] |= irqTx
		c.done()
	case cmdTransceive:
		c.regs[comIrqReg] |= irqTx
		c.receiverOn()
	case cmdMFAuthent: // blocks TxIRq
		c.receiverOn()
	}
	c.deliver()
}

// receiverOn starts the receiver, which clears what the last reception left.
func (c *Chip) receiverOn() {
	c.modem = modemWaitData
	c.regs[errorReg] &^= errColl | errCRC | errParity | errProtocol
	c.regs[collReg] = c.regs[collReg]&bitAllValues | bitNotValid
}

// deliver gives the frame to the cards that heard all of it, and plans what
// comes back.
func (c *Chip) deliver() {
	a := &c.air
	a.answers = a.answers[:0]
	if !a.deaf && a.on && a.since <= a.start {
		c.collectAnswers()
	}
	c.addNoise()
	if len(a.answers) == 0 {
		return
	}
	a.first = a.answers[0].start
	end := a.first
	for i := range a.answers {
		r := &a.answers[i]
		a.first = min(a.first, r.start)
		end = max(end, r.start+etu(len(r.sym)))
		if r.from != nil {
			a.busyUntil = max(a.busyUntil, r.start+etu(len(r.sym)))
		}
	}
	c.clk.schedule(event{at: a.first, kind: evRxStart, id: a.id})
	c.clk.schedule(event{at: a.first + etu(5), kind: evRxBit5, id: a.id})
	c.clk.schedule(event{at: end + etu(1), kind: evRxEnd, id: a.id})
}

func (c *Chip) collectAnswers() {
	a := &c.air
	split := 0
	if a.frame.Bits > 8 {
		split = a.frame.Bits % 8
	}
	for _, card := range a.cards {
		if !card.powered || card.since > a.start {
			continue
		}
		f := a.frame
		f.Data, f.Parity = slices.Clone(f.Data), slices.Clone(f.Parity)
		r, ok := card.Answer(f)
		if !ok || r.Bits <= 0 || r.Bits > 8*len(r.Data) {
			continue
		}
		a.answers = append(a.answers, answer{
			from: card, frame: r.Frame, start: a.end + fdt + r.After, sym: modulate(r.Frame, split),
		})
	}
}

// rxStart is the first bit of the first answer: a receiver that is on takes it up.
func (c *Chip) rxStart(id uint64) {
	cmd := c.command()
	waits := cmd == cmdTransceive || cmd == cmdReceive || cmd == cmdMFAuthent
	if id != c.air.id || !waits || c.modem != modemWaitData || c.regs[commandReg]&bitRcvOff != 0 || c.tested {
		return
	}
	if len(c.superimposed()) > 0 {
		c.air.hears = c.run
		c.modem = modemReceiving
	}
}

func (c *Chip) hearing(id uint64) bool {
	return id == c.air.id && c.air.hears == c.run && c.modem == modemReceiving
}

// rxBit5 stops a timer that was started by TAuto (9.3.3.10).
func (c *Chip) rxBit5(id uint64) {
	auto := c.regs[tModeReg]&0x80 != 0 && c.regs[rxModeReg]&0x04 == 0
	if auto && c.hearing(id) && c.timer.running && len(c.superimposed()) >= 5 {
		c.stopTimer()
	}
}

func (c *Chip) rxEnd(id uint64) {
	a := &c.air
	if id != a.id {
		return
	}
	for i := range a.answers {
		if r := &a.answers[i]; r.from != nil && !r.cut {
			c.trace(Air{Start: r.start, End: r.start + etu(len(r.sym)), Frame: r.frame})
		}
	}
	if !c.hearing(id) {
		return
	}
	if c.command() == cmdMFAuthent {
		c.authReceived(c.superimposed())
		return
	}
	c.receive(c.superimposed())
}

// superimposed adds up the answers until nobody modulates.
func (c *Chip) superimposed() []symbol {
	a := &c.air
	a.sym = a.sym[:0]
	for i := 0; ; i++ {
		s := symNone
		for k := range a.answers {
			s |= a.answers[k].at(a.first, i)
		}
		if s == symNone {
			return a.sym
		}
		a.sym = append(a.sym, s)
	}
}

func (c *Chip) trace(e Air) {
	if c.opts.Trace != nil {
		e.Frame.Data = slices.Clone(e.Frame.Data)
		c.opts.Trace(e)
	}
}
