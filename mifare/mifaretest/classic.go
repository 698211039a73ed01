package mifaretest

// memory is that of a MIFARE Classic with its security state (MF1S50YYX/V1,
// MF1S70YYX/V1, 8 to 10). Value blocks can be read and written, but there is no
// Increment, Decrement, Restore or Transfer.
type memory struct {
	block  [][16]byte
	nonce  [4]byte  // of the last authentication
	cipher *Crypto1 // nil: not authenticated, nor about to be
	proven bool     // the PCD has answered the nonce
	sector int
	keyB   bool
	write  int // block that the next frame is for; -1: none
}

// newMemory is a memory in transport configuration: every key FF FF FF FF FF FF,
// access bits FF 07 80, zeros in the data.
func newMemory(s Spec, uid []byte) *memory {
	m := &memory{block: make([][16]byte, s.Blocks), write: -1, nonce: [4]byte{0x01, 0x20, 0x01, 0x45}}
	for i := range m.block {
		if i == trailer(i) {
			m.block[i] = [16]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x80, 0x69,
				0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
		}
	}
	n := copy(m.block[0][:], uid)
	if n == 4 {
		m.block[0][4] = uid[0] ^ uid[1] ^ uid[2] ^ uid[3]
		n++
	}
	m.block[0][n] = s.SAK
	copy(m.block[0][n+1:n+3], s.ATQA)
	return m
}

// trailer is the block with the keys of b's sector: sectors have 4 blocks, from
// block 128 on 16.
func trailer(b int) int {
	if b < 128 {
		return b | 3
	}
	return b | 15
}

func (m *memory) close() { m.cipher, m.proven, m.write = nil, false, -1 }

// authenticate begins a session, or a nested one under the cipher of the last.
func (c *Card) authenticate(cmd, block byte) (Reply, bool) {
	m := c.classic
	if int(block) >= len(m.block) {
		return c.refuse(nakInvalid)
	}
	nested := m.cipher != nil
	m.sector, m.keyB = trailer(int(block)), cmd == 0x61
	t := m.block[m.sector]
	key := [6]byte(t[:6])
	if m.keyB {
		key = [6]byte(t[10:])
	}
	m.close()
	m.cipher = NewCrypto1(key)
	m.nonce = Successor(m.nonce, 1000)
	stir := c.uid[len(c.uid)-4:]
	mixed := [4]byte{}
	for i, v := range m.nonce {
		mixed[i] = v ^ stir[i]
	}
	f := m.cipher.feed(m.nonce[:], mixed[:])
	if !nested {
		return bytesReply(m.nonce[:]...), true
	}
	return Reply{Frame: f}, true
}

// secured answers once a cipher is loaded.
func (c *Card) secured(f Frame) (Reply, bool) {
	m := c.classic
	if !m.proven {
		return c.prove(f)
	}
	plain, ok := m.cipher.Decrypt(f)
	b, good := body(plain)
	switch {
	case f.Bits < 8:
		return c.wrong()
	case !ok || !good:
		return c.refuse(nakCheck)
	case m.write >= 0:
		return c.stored(b)
	case len(b) != 2:
		return c.refuse(nakInvalid)
	}
	return c.access(b[0], int(b[1]))
}

// prove checks the PCD's answer to the nonce and answers its. To a wrong one the
// card is mute, as newer ICs are.
func (c *Card) prove(f Frame) (Reply, bool) {
	m := c.classic
	if f.Bits != 64 || len(f.Parity) != 8 {
		return c.wrong()
	}
	good := true
	for i, v := range f.Data[:4] {
		plain := v ^ m.cipher.Byte(v, true)
		good = good && f.Parity[i]^m.cipher.Peek() == oddParity(plain)
	}
	got, parity := m.cipher.Decrypt(Frame{Data: f.Data[4:8], Bits: 32, Parity: f.Parity[4:]})
	if !good || !parity || [4]byte(got.Data) != Successor(m.nonce, 64) {
		return c.wrong()
	}
	m.proven = true
	at := Successor(m.nonce, 96)
	return Reply{Frame: m.cipher.Encrypt(Frame{Data: at[:], Bits: 32})}, true
}

// access answers a command in an authenticated sector.
func (c *Card) access(cmd byte, block int) (Reply, bool) {
	m := c.classic
	switch cmd {
	case 0x60, 0x61:
		return c.authenticate(cmd, byte(block))
	case 0x50:
		c.enter(halt)
		return Reply{}, false
	}
	if block >= len(m.block) || trailer(block) != m.sector {
		return c.refuse(nakInvalid)
	}
	may := m.rights(block)
	switch {
	case cmd == 0x30 && may.read:
		return c.seal(crcReply(m.visible(block, may)...)), true
	case cmd == 0xA0 && may.writes() && block != 0:
		m.write = block
		return c.seal(nibbleReply(ack)), true
	}
	return c.refuse(nakInvalid)
}

// stored takes the second frame of a write.
func (c *Card) stored(b []byte) (Reply, bool) {
	m := c.classic
	if len(b) != 16 {
		return c.refuse(nakInvalid)
	}
	m.store(m.write, [16]byte(b))
	m.write = -1
	return c.seal(nibbleReply(ack)), true
}

// seal encrypts an answer.
func (c *Card) seal(r Reply) Reply {
	r.Frame = c.classic.cipher.Encrypt(r.Frame)
	return r
}

// refuse sends a NAK, under the cipher if there is one, and ends ACTIVE.
func (c *Card) refuse(code byte) (Reply, bool) {
	r := nibbleReply(code)
	if c.classic.proven {
		r = c.seal(r)
	}
	c.wrong()
	return r, true
}

// magic answers the frames of a gen1a's backdoor: 43, then plain READ and WRITE.
func (c *Card) magic(f Frame) (Reply, bool) {
	m := c.classic
	if f.Bits == 8 && f.Data[0] == 0x43 {
		return nibbleReply(ack), true
	}
	b, ok := body(f)
	switch {
	case !ok || m == nil:
	case m.write >= 0 && len(b) == 16:
		m.block[m.write] = [16]byte(b)
		if m.write == 0 {
			c.impersonate()
		}
		m.write = -1
		return nibbleReply(ack), true
	case len(b) == 2 && b[0] == 0x30 && int(b[1]) < len(m.block):
		return crcReply(m.block[b[1]][:]...), true
	case len(b) == 2 && b[0] == 0xA0 && int(b[1]) < len(m.block):
		m.write = int(b[1])
		return nibbleReply(ack), true
	}
	return c.wrong()
}

// impersonate makes a gen1a what its block 0 says, right or wrong.
func (c *Card) impersonate() {
	b := c.classic.block[0]
	c.uid = append([]byte(nil), b[:4]...)
	c.spec.BadBCC = b[4] != b[0]^b[1]^b[2]^b[3]
	c.spec.SAK, c.spec.SAKs = b[5], nil
	c.spec.ATQA = append([]byte(nil), b[6:8]...)
}
