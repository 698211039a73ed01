package mifaretest

import (
	"encoding/binary"
	"math/bits"
)

// Crypto1 is the stream cipher of MIFARE Classic, for both ends of the air
// interface (Garcia et al., "Dismantling MIFARE Classic", ESORICS 2008). Bytes
// go through it least significant bit first, as they are sent.
type Crypto1 struct {
	lfsr uint64 // bit i is x_i; 48 bits
}

// NewCrypto1 returns the cipher with key loaded.
func NewCrypto1(key [6]byte) *Crypto1 {
	var b [8]byte
	copy(b[:], key[:])
	return &Crypto1{lfsr: binary.LittleEndian.Uint64(b[:])}
}

// taps are the bits of the feedback polynomial's positions.
const taps = 1<<0 | 1<<5 | 1<<9 | 1<<10 | 1<<12 | 1<<14 | 1<<15 | 1<<17 | 1<<19 |
	1<<24 | 1<<25 | 1<<27 | 1<<29 | 1<<35 | 1<<39 | 1<<41 | 1<<42 | 1<<43

// Peek is the next keystream bit; the parity bit of a byte is encrypted with it,
// and the first bit of the next byte again.
func (c *Crypto1) Peek() byte {
	x := func(i int) byte { return byte(c.lfsr>>i) & 1 }
	return mixC(
		mixA(x(9), x(11), x(13), x(15)),
		mixB(x(17), x(19), x(21), x(23)),
		mixB(x(25), x(27), x(29), x(31)),
		mixA(x(33), x(35), x(37), x(39)),
		mixB(x(41), x(43), x(45), x(47)))
}

func mixA(a, b, c, d byte) byte { return (a | b) ^ a&d ^ c&(a^b|d) }
func mixB(a, b, c, d byte) byte { return (a&b | c) ^ (a^b)&(c|d) }
func mixC(a, b, c, d, e byte) byte {
	return (a | (b|e)&(d^e)) ^ (a^b&d)&(c^d|b&e)
}

// Bit steps once, taking in (0 or 1) into the state, and returns the keystream
// bit from before the step. If encrypted, in is a ciphertext bit.
func (c *Crypto1) Bit(in byte, encrypted bool) byte {
	k := c.Peek()
	if encrypted {
		in ^= k
	}
	next := uint64(bits.OnesCount64(c.lfsr&taps)&1) ^ uint64(in&1)
	c.lfsr = c.lfsr>>1 | next<<47
	return k
}

// Byte is eight times Bit.
func (c *Crypto1) Byte(in byte, encrypted bool) byte {
	var k byte
	for i := range 8 {
		k |= c.Bit(in>>i&1, encrypted) << i
	}
	return k
}

// Encrypt turns a plain frame into what goes over the air, parity included.
func (c *Crypto1) Encrypt(f Frame) Frame {
	return c.through(f, func(plain, _ byte) byte { return oddParity(plain) })
}

// Decrypt turns a frame from the air into the plain one; false if a parity bit
// is wrong.
func (c *Crypto1) Decrypt(f Frame) (Frame, bool) {
	sent := f.Parity
	f.Parity = make([]byte, f.Bits/8)
	for i := range f.Parity {
		f.Parity[i] = oddParity(f.Data[i])
	}
	if sent != nil {
		copy(f.Parity, sent)
	}
	in := f.Parity
	out := c.through(f, func(_, i byte) byte { return in[i] })
	return out, parityGood(out)
}

// through takes the keystream to the bits of f, and to the parity that it is given.
func (c *Crypto1) through(f Frame, parity func(before, i byte) byte) Frame {
	out := Frame{Data: make([]byte, len(f.Data)), Bits: f.Bits}
	whole := f.Bits / 8
	for i, v := range f.Data[:whole] {
		out.Data[i] = v ^ c.Byte(0, false)
		out.Parity = append(out.Parity, parity(v, byte(i))^c.Peek())
	}
	for i := range f.Bits % 8 {
		out.Data[whole] |= (f.Data[whole]>>i&1 ^ c.Bit(0, false)) << i
	}
	return out
}

// feed takes b into the state as it is sent, and returns it encrypted: nonces
// stir the cipher while they pass.
func (c *Crypto1) feed(b, stir []byte) Frame {
	f := Frame{Bits: 8 * len(b)}
	for i, v := range b {
		f.Data = append(f.Data, v^c.Byte(stir[i], false))
		f.Parity = append(f.Parity, oddParity(v)^c.Peek())
	}
	return f
}

// Respond is the PCD's part of the authentication: it takes the card's nonce
// as it came (encrypted if nested in another session), and the PCD's own nonce,
// and returns the frame to send and the plain frame that the card must answer.
// uid are the last four bytes of the UID.
func (c *Crypto1) Respond(uid [4]byte, challenge Frame, nested bool, own [4]byte) (send, want Frame) {
	nt := [4]byte(challenge.Data)
	for i, v := range nt {
		k := c.Byte(v^uid[i], nested)
		if nested {
			nt[i] = v ^ k
		}
	}
	send = c.feed(own[:], own[:])
	ar := Successor(nt, 64)
	answer := c.Encrypt(Frame{Data: ar[:], Bits: 32})
	send.Data = append(send.Data, answer.Data...)
	send.Parity = append(send.Parity, answer.Parity...)
	send.Bits = 64
	at := Successor(nt, 96)
	return send, Frame{Data: at[:], Bits: 32}
}

// Successor is the card's nonce n steps later in its 16-bit generator.
func Successor(nonce [4]byte, n int) [4]byte {
	x := binary.LittleEndian.Uint32(nonce[:])
	for range n {
		x = x>>1 | (x>>16^x>>18^x>>19^x>>21)<<31
	}
	var out [4]byte
	binary.LittleEndian.PutUint32(out[:], x)
	return out
}
