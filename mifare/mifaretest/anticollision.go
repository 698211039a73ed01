package mifaretest

// ct is the cascade tag, first of a level whose UID goes on.
const ct = 0x88

// anticollision answers ANTICOLLISION and SELECT in READY (ISO/IEC 14443-3, 6.5.3).
func (c *Card) anticollision(f Frame) (Reply, bool) {
	if f.Bits < 16 || c.level > 2 || f.Data[0] != [...]byte{0x93, 0x95, 0x97}[c.level] {
		return c.wrong()
	}
	nvb := f.Data[1]
	if nvb == 0x70 {
		return c.selected(f)
	}
	// NVB counts SEL and NVB themselves.
	known := int(nvb>>4)*8 + int(nvb&0xF) - 16
	if nvb&0xF > 7 || known < 0 || known > 39 || f.Bits != known+16 {
		return c.wrong()
	}
	mine := c.clN()
	if !sameBits(f.Data[2:], mine[:], known) {
		return c.wrong()
	}
	return Reply{Frame: tail(mine[:], known)}, true
}

// selected answers SELECT if it names this card.
func (c *Card) selected(f Frame) (Reply, bool) {
	b, ok := body(f)
	mine := c.clN()
	if !ok || len(b) != 7 || [5]byte(b[2:]) != mine {
		return c.wrong()
	}
	sak := c.sak()
	c.level++
	if sak&0x04 == 0 {
		c.state = active
	}
	if c.spec.BadCRC {
		r := crcReply(sak)
		r.Data[1] ^= 0xFF
		return r, true
	}
	return crcReply(sak), true
}

// clN is what the card gives at the present level: four bytes and their BCC.
func (c *Card) clN() [5]byte {
	part := c.uid[len(c.uid)-4:]
	if c.level < c.levels()-1 {
		part = append([]byte{ct}, c.uid[3*c.level:3*c.level+3]...)
	}
	bcc := part[0] ^ part[1] ^ part[2] ^ part[3]
	if c.spec.BadBCC {
		bcc ^= 0x10
	}
	return [5]byte{part[0], part[1], part[2], part[3], bcc}
}

// levels is 1, 2 or 3 for 4, 7 or 10 bytes.
func (c *Card) levels() int { return (len(c.uid) - 1) / 3 }

// sak of the present level.
func (c *Card) sak() byte {
	switch {
	case len(c.spec.SAKs) > 0:
		return c.spec.SAKs[min(c.level, len(c.spec.SAKs)-1)]
	case c.level < c.levels()-1:
		return 0x04
	}
	return c.spec.SAK
}

// sameBits compares the first n bits, least significant first.
func sameBits(a, b []byte, n int) bool {
	for i := range n {
		if (a[i/8]^b[i/8])>>(i%8)&1 == 1 {
			return false
		}
	}
	return true
}

// tail is b from bit n on, moved so that its first bit is bit 0.
func tail(b []byte, n int) Frame {
	f := Frame{Bits: 8*len(b) - n}
	f.Data = make([]byte, (f.Bits+7)/8)
	for i := range f.Bits {
		f.Data[i/8] |= b[(n+i)/8] >> ((n + i) % 8) & 1 << (i % 8)
	}
	return f
}
