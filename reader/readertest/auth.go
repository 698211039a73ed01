package readertest

import (
	"slices"

	"badged/mifare/mifaretest"
)

// auth is MFAuthent on its way (10.3.1.9): the three passes of MIFARE Classic,
// done by the chip.
type auth struct {
	step   authStep
	uid    [4]byte
	cipher *mifaretest.Crypto1
	send   mifaretest.Frame
	want   mifaretest.Frame
}

type authStep int

const (
	authFill   authStep = iota // waits for 12 bytes
	authNonce                  // waits for the card's nonce
	authVerify                 // waits for the card's proof
)

// authStart takes command, block, key and UID once they are all there.
func (c *Chip) authStart() {
	if c.auth.step != authFill || c.fifoLen < 12 {
		return
	}
	var b [12]byte
	for i := range b {
		b[i] = c.pull()
	}
	if b[0] != 0x60 && b[0] != 0x61 {
		c.violate("MFAuthent with command %02X, neither 60 nor 61", b[0])
	}
	c.auth = auth{
		step: authNonce, uid: [4]byte(b[8:12]), cipher: mifaretest.NewCrypto1([6]byte(b[2:8])),
	}
	crc := crcA(b[:2])
	c.transmit(mifaretest.Frame{Data: []byte{b[0], b[1], byte(crc), byte(crc >> 8)}, Bits: 32})
}

// authReceived judges the card's answers, of four bytes both.
func (c *Chip) authReceived(sym []symbol) {
	r := demodulate(c.rx, sym, 0, true)
	c.rx = r.data
	f := mifaretest.Frame{Data: slices.Clone(r.data), Bits: r.bits, Parity: r.parity}
	if r.badStart || r.collision >= 0 || r.bits != 32 || len(r.parity) != 4 {
		c.authFailed()
		return
	}
	a := &c.auth
	if a.step == authVerify {
		c.authVerify(f)
		return
	}
	var own [4]byte
	for i := range own {
		own[i] = byte(c.rnd.Uint32())
	}
	nested := c.regs[status2Reg]&bitCrypto1On != 0
	a.send, a.want = a.cipher.Respond(a.uid, f, nested, own)
	a.step = authVerify
	c.clk.schedule(event{at: c.now() + guard, kind: evAuth, id: c.run})
}

// authAnswer sends the chip's nonce and proof.
func (c *Chip) authAnswer(run uint64) {
	if run == c.run {
		c.transmitRaw(c.auth.send)
	}
}

// authVerify ends the command if the card knew the key.
func (c *Chip) authVerify(f mifaretest.Frame) {
	got, ok := c.auth.cipher.Decrypt(f)
	if !ok || !slices.Equal(got.Data, c.auth.want.Data) {
		c.authFailed()
		return
	}
	c.cipher = c.auth.cipher
	c.regs[status2Reg] |= bitCrypto1On
	c.done()
}

// authFailed leaves the command running, as silence does: only success ends it.
func (c *Chip) authFailed() {
	c.fail(errProtocol)
	c.cipher = nil
	c.regs[status2Reg] &^= bitCrypto1On
	c.modem = modemIdle
}
