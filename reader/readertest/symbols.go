package readertest

import (
	"math/bits"

	"badged/mifare/mifaretest"
)

// symbol is one bit of a PICC on the air: which halves of it are modulated with
// the subcarrier (ISO/IEC 14443-2, 8.2.5). Answers of several PICCs add up by OR,
// and a bit with both halves modulated is a collision.
type symbol byte

const (
	symNone symbol = 0 // no answer, or its end
	symOne  symbol = 1 // first half: sequence D, logic 1 and start of communication
	symZero symbol = 2 // second half: sequence E, logic 0
	symBoth symbol = 3
)

func bitSymbol(b byte) symbol { return symZero - symbol(b&1) }

// oddParity is the parity bit of v.
func oddParity(v byte) byte { return byte(^bits.OnesCount8(v)) & 1 }

// modulate gives f its start of communication and its parity bits. split is the
// number of bits of the first byte that the PCD sent itself in a bit-oriented
// anticollision frame; the PICC sends the others and a parity bit that nobody
// may rely on (ISO/IEC 14443-3, 6.2.3.2).
func modulate(f mifaretest.Frame, split int) []symbol {
	out := append(make([]symbol, 0, 1+f.Bits+f.Bits/8+1), symOne)
	fill, v, whole := split, byte(0), 0
	for i := range f.Bits {
		b := f.Data[i/8] >> (i % 8) & 1
		out = append(out, bitSymbol(b))
		v |= b << fill
		if fill++; fill < 8 {
			continue
		}
		p := oddParity(v)
		if split == 0 && whole < len(f.Parity) {
			p = f.Parity[whole]
		}
		out = append(out, bitSymbol(p))
		fill, v, whole = 0, 0, whole+1
	}
	return out
}

// reception is what the receiver makes of symbols.
type reception struct {
	data      []byte // aligned: the first bit received is bit RxAlign of data[0]
	bits      int    // received, without parity
	parity    []byte // of the whole bytes, but for a first one cut by RxAlign
	collision int    // number of the first collided bit from 0; -1: none
	badStart  bool   // no start of communication
	badParity bool   // a parity bit is wrong or missing
}

// demodulate decodes until the first bit without modulation. A collided bit
// reads 1; from a collision on parity means nothing.
func demodulate(buf []byte, in []symbol, align int, withParity bool) reception {
	r := reception{data: buf[:0], collision: -1}
	if len(in) == 0 {
		return r
	}
	r.badStart = in[0] != symOne
	fill, cut := align, align > 0
	for i := 1; i < len(in) && in[i] != symNone; i++ {
		if withParity && fill == 8 {
			if !cut {
				r.takeParity(in[i])
			}
			fill, cut = 0, false
			continue
		}
		if fill %= 8; fill == 0 || len(r.data) == 0 {
			r.data = append(r.data, 0)
		}
		if in[i]&symOne != 0 {
			r.data[len(r.data)-1] |= 1 << fill
		}
		if in[i] == symBoth && r.collision < 0 {
			r.collision = r.bits
		}
		fill++
		r.bits++
	}
	if withParity && fill == 8 && !cut {
		r.badParity = true // broke off before the parity bit
	}
	r.badParity = r.badParity && r.collision < 0
	return r
}

func (r *reception) takeParity(s symbol) {
	p := byte(s & symOne)
	r.parity = append(r.parity, p)
	if r.collision < 0 && (s == symBoth || p != oddParity(r.data[len(r.data)-1])) {
		r.badParity = true
	}
}

// clearFrom zeroes the bits of the aligned data from the n-th on.
func (r *reception) clearFrom(n int) {
	for i := range r.data {
		keep := min(max(n-8*i, 0), 8)
		r.data[i] &= byte(1<<keep - 1)
	}
}
