package mifaretest

// link is the block protocol's state (ISO/IEC 14443-4, 7).
type link struct {
	cid     byte
	fresh   bool // no block yet: PPS is still allowed
	number  byte // the card's block number
	chain   []byte
	last    []byte // the last block sent, for R(NAK)
	version int    // frames of GetVersion sent
}

// rats answers with the ATS and enters PROTOCOL. CID 15 is RFU.
func (c *Card) rats(param byte) (Reply, bool) {
	if param&0xF == 0xF {
		return c.wrong()
	}
	c.enter(protocol)
	c.tcl = link{cid: param & 0xF, fresh: true, number: 1}
	r := crcReply(c.spec.ATS...)
	r.After = c.spec.ATSAfter
	return r, true
}

// block answers in PROTOCOL; what it does not understand it ignores.
func (c *Card) block(f Frame) (Reply, bool) {
	b, ok := body(f)
	if !ok {
		return Reply{}, false
	}
	if b[0]&0xF0 == 0xD0 {
		return c.pps(b)
	}
	head, inf, ok := c.header(b)
	if !ok {
		return Reply{}, false
	}
	c.tcl.fresh = false
	switch pcb := b[0]; {
	case pcb&0xE2 == 0x02:
		return c.iBlock(pcb, head, inf)
	case pcb&0xE6 == 0xA2 && len(inf) == 0:
		return c.rBlock(pcb, head)
	case pcb&0xF7 == 0xC2 && len(inf) == 0:
		c.enter(halt)
		return crcReply(b...), true
	}
	return Reply{}, false
}

// header cuts PCB and CID; a NAD, or another card's CID, is not for this card.
func (c *Card) header(b []byte) (head, inf []byte, ok bool) {
	const withCID = 0x08
	n := 1
	if b[0]&withCID != 0 {
		n = 2
	}
	if len(b) < n || n == 2 && b[1]&0xF != c.tcl.cid || n == 1 && c.tcl.cid != 0 {
		return nil, nil, false
	}
	if b[0]&0xC0 == 0 && b[0]&0x04 != 0 {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// pps takes the rates 106/106 only, right after the ATS.
func (c *Card) pps(b []byte) (Reply, bool) {
	plain := len(b) == 2 && b[1] == 0x01 || len(b) == 3 && b[1] == 0x11 && b[2] == 0
	if !c.tcl.fresh || b[0]&0xF != c.tcl.cid || !plain {
		return Reply{}, false
	}
	c.tcl.fresh = false
	return crcReply(b[0]), true
}

// iBlock runs the command in inf when its chain is complete. The answers are
// short enough never to be chained.
func (c *Card) iBlock(pcb byte, head, inf []byte) (Reply, bool) {
	const chaining = 0x10
	c.tcl.number = pcb & 1
	if len(c.tcl.chain)+len(inf) > 1024 {
		return Reply{}, false
	}
	c.tcl.chain = append(c.tcl.chain, inf...)
	if pcb&chaining != 0 {
		return c.send(0xA2|pcb&1, head, nil)
	}
	answer := c.apdu(c.tcl.chain)
	c.tcl.chain = nil
	return c.send(0x02|pcb&1, head, answer)
}

// rBlock repeats the last block, or acknowledges a NAK for one that never came.
func (c *Card) rBlock(pcb byte, head []byte) (Reply, bool) {
	switch {
	case pcb&1 == c.tcl.number && c.tcl.last != nil:
		return crcReply(c.tcl.last...), true
	case pcb&0x10 != 0:
		return crcReply(append([]byte{0xA2 | pcb&0x08 | c.tcl.number}, head[1:]...)...), true
	}
	return Reply{}, false
}

// send answers with a block that has a CID if head has one.
func (c *Card) send(pcb byte, head, inf []byte) (Reply, bool) {
	b := append([]byte{pcb | head[0]&0x08}, head[1:]...)
	c.tcl.last = append(b, inf...)
	return crcReply(c.tcl.last...), true
}

// apdu answers GetVersion, native (60) or wrapped (90 60 00 00 00), and refuses
// the rest as a card without applications does.
func (c *Card) apdu(b []byte) []byte {
	wrapped := len(b) >= 4 && b[0] == 0x90
	cmd := byte(0)
	switch {
	case wrapped:
		cmd = b[1]
	case len(b) == 1:
		cmd = b[0]
	}
	part, more, ok := c.nextVersion(cmd)
	status := byte(0x00)
	switch {
	case !ok && wrapped:
		return []byte{0x91, 0x1C} // ILLEGAL_COMMAND_CODE
	case !ok:
		return []byte{0x6D, 0x00} // INS not supported
	case more:
		status = 0xAF
	}
	if wrapped {
		return append(append([]byte(nil), part...), 0x91, status)
	}
	return append([]byte{status}, part...)
}

// nextVersion is the frame of GetVersion that 60 begins and AF goes on with:
// hardware and software (7 bytes each), then UID and production.
func (c *Card) nextVersion(cmd byte) (part []byte, more, ok bool) {
	switch {
	case cmd == 0x60:
		c.tcl.version = 0
	case cmd != 0xAF || c.tcl.version == 0:
		return nil, false, false
	}
	from, v := 7*c.tcl.version, c.spec.Version
	if from >= len(v) {
		return nil, false, false
	}
	to := min(from+7, len(v))
	if c.tcl.version == 2 {
		to = len(v)
	}
	c.tcl.version++
	if to == len(v) {
		c.tcl.version = 0
	}
	return v[from:to], to < len(v), true
}
