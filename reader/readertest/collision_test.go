package readertest_test

import (
	"fmt"
	"testing"

	"badged/reader/readertest"
)

// Two cards whose UIDs differ first in bit p: CollPos for every p, asked with
// k known bits, in both readings.
func TestCollisionPositions(t *testing.T) {
	for _, absolute := range []bool{false, true} {
		for known := range 40 {
			for p := known; p < 40; p++ {
				checkCollision(t, absolute, known, p)
			}
		}
	}
}

func checkCollision(t *testing.T, absolute bool, known, p int) {
	t.Helper()
	x := []byte{0x11, 0x22, 0x33, 0x44, 0x11 ^ 0x22 ^ 0x33 ^ 0x44}
	y := append([]byte(nil), x...)
	y[p/8] ^= 1 << (p % 8)
	b := newBus(t, readertest.Opts{AbsoluteCollPos: absolute})
	rest := func(v []byte) *script { // bits from known on, the first in bit 0
		s := says(40-known, make([]byte, (47-known)/8)...)
		for i := range 40 - known {
			k := known + i
			s.reply.Data[i/8] |= v[k/8] >> (k % 8) & 1 << (i % 8)
		}
		return s
	}
	b.Put(rest(x))
	b.Put(rest(y))
	b.setUp()
	frame := fmt.Sprintf("93%02X", 0x20+known/8<<4+known%8)
	frame += fmt.Sprintf("%X", x[:(known+7)/8])
	framing := byte(known%8<<4 | known%8)
	b.send(frame, framing)
	pos := p - known + 1 + known%8
	if absolute {
		pos = p + 1
	}
	want := byte(pos & 0x1F)
	if pos > 32 {
		want = 0x20
	}
	if got := b.reg(0x9C); got != want {
		t.Errorf("absolute %v, %d known, collision at %d: got CollReg %02X, want %02X", absolute, known, p, got, want)
	}
	if got := b.reg(0x8C); got != 0x08 {
		t.Errorf("%d known, collision at %d: got ErrorReg %02X, want 08", known, p, got)
	}
	got := b.received()
	for i := range got { // ValuesAfterColl = 0: true up to the collision, then zeros
		k := known - known%8 + 8*i
		mask := byte(1<<min(8, max(0, p-k)) - 1)
		if i == 0 {
			mask &^= 1<<(known%8) - 1
		}
		if got[i] != x[known/8+i]&mask {
			t.Errorf("%d known, collision at %d: got byte %d %02X, want %02X", known, p, i, got[i], x[known/8+i]&mask)
		}
	}
	if len(got) != 5-known/8 {
		t.Errorf("%d known: got %d bytes, want %d", known, len(got), 5-known/8)
	}
}

func TestValuesAfterCollision(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(says(16, 0x04, 0x00))
	b.Put(says(16, 0x44, 0x03))
	b.setUp()
	b.want("colliding ATQAs, cleared", "26", 7, "0400")
	b.wantReg("CollReg", 0x9C, 7)
	b.tx("1C 80")
	b.want("colliding ATQAs, kept", "26", 7, "4403")
	b.wantReg("CollReg", 0x9C, 0x87)
}
