package mifaretest_test

import (
	"bytes"
	"testing"

	"badged/mifare"
	"badged/mifare/mifaretest"
)

// pcd is the reader's end of an authenticated session.
type pcd struct {
	t      *testing.T
	card   *mifaretest.Card
	cipher *mifaretest.Crypto1
}

var transportKey = [6]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}

// active is a reader with a card of that kind in ACTIVE.
func active(t *testing.T, kind string) *pcd {
	t.Helper()
	p := &pcd{t: t, card: lookup(t, kind)}
	p.wake()
	return p
}

// wake starts over with a field reset.
func (p *pcd) wake() {
	p.t.Helper()
	p.cipher = nil
	p.card.Power(false)
	p.card.Power(true)
	p.card.Answer(wupa)
	choose(p.t, p.card)
}

// auth runs the three passes, nested if there is a session already.
func (p *pcd) auth(cmd, block byte, key [6]byte) bool {
	p.t.Helper()
	ask, nested := sealed(cmd, block), p.cipher != nil
	if nested {
		ask = p.cipher.Encrypt(ask)
	}
	nonce, ok := p.card.Answer(ask)
	if !ok || nonce.Bits != 32 {
		p.t.Fatalf("auth of block %d: got %d bits, want a nonce", block, nonce.Bits)
	}
	uid := p.card.UID().Bytes()
	p.cipher = mifaretest.NewCrypto1(key)
	send, want := p.cipher.Respond([4]byte(uid[len(uid)-4:]), nonce.Frame, nested, [4]byte{1, 2, 3, 4})
	r, ok := p.card.Answer(send)
	if !ok {
		return false
	}
	got, parity := p.cipher.Decrypt(r.Frame)
	return parity && bytes.Equal(got.Data, want.Data)
}

// do sends b encrypted and returns the plain answer.
func (p *pcd) do(f mifaretest.Frame) (mifaretest.Frame, bool) {
	p.t.Helper()
	r, ok := p.card.Answer(p.cipher.Encrypt(f))
	if !ok {
		return mifaretest.Frame{}, false
	}
	plain, parity := p.cipher.Decrypt(r.Frame)
	if !parity {
		p.t.Fatalf("% x: got wrong parity in the answer", f.Data)
	}
	return plain, true
}

func (p *pcd) read(block byte) []byte {
	p.t.Helper()
	f, _ := p.do(sealed(0x30, block))
	b, ok := mifare.CutCRCA(f.Data)
	if !ok {
		return nil
	}
	return b
}

func (p *pcd) write(block byte, data [16]byte) bool {
	p.t.Helper()
	first, _ := p.do(sealed(0xA0, block))
	if first.Bits != 4 || first.Data[0] != 0xA {
		return false
	}
	second, _ := p.do(sealed(data[:]...))
	return second.Bits == 4 && second.Data[0] == 0xA
}

func TestClassicOfEverySizeIsReadAndWritten(t *testing.T) {
	for kind, last := range map[string]byte{
		"classic-mini": 18, "classic-1k": 62, "classic-ev1": 70, "classic-2k": 126, "classic-4k": 254, "triple-size": 62,
	} {
		t.Run(kind, func(t *testing.T) {
			p := active(t, kind)
			if !p.auth(0x60, last, transportKey) {
				t.Fatal("got no authentication, want one")
			}
			data := [16]byte{'b', 'a', 'd', 'g', 'e', last}
			if !p.write(last, data) {
				t.Fatal("got NAK to a write, want ACK")
			}
			if got := p.read(last); !bytes.Equal(got, data[:]) {
				t.Errorf("got % x, want % x", got, data)
			}
			if !p.auth(0x60, 0, transportKey) {
				t.Fatal("nested: got no authentication, want one")
			}
			uid := p.card.UID().Bytes()
			if got := p.read(0); !bytes.HasPrefix(got, uid) {
				t.Errorf("got block 0 % x, want UID % x", got, uid)
			}
		})
	}
}

func TestClassicWrongKeyIsSilence(t *testing.T) {
	p := active(t, "classic-1k")
	if p.auth(0x60, 4, [6]byte{1}) {
		t.Error("got authenticated with a wrong key")
	}
	if got := p.card.State(); got != "IDLE" {
		t.Errorf("got %s, want IDLE", got)
	}
}

func TestClassicEndsOfASession(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*pcd)
		want string
	}{
		"encrypted HLTA":      {func(p *pcd) { p.do(hlta) }, "HALT"},
		"plain HLTA":          {func(p *pcd) { p.card.Answer(hlta) }, "IDLE"},
		"plain WUPA":          {func(p *pcd) { p.card.Answer(wupa) }, "IDLE"},
		"block out of sector": {func(p *pcd) { p.do(sealed(0x30, 8)) }, "IDLE"},
		"unknown command":     {func(p *pcd) { p.do(sealed(0x77, 4)) }, "IDLE"},
		"power lost":          {func(p *pcd) { p.card.Power(false) }, "POWER-OFF"},
	} {
		p := active(t, "classic-1k")
		if !p.auth(0x61, 4, transportKey) {
			t.Fatal("got no authentication, want one")
		}
		tc.do(p)
		if got := p.card.State(); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func TestClassicNAKsWhatItCannotRead(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*mifaretest.Frame)
		want  byte
	}{
		"parity":  {func(f *mifaretest.Frame) { f.Parity[1] ^= 1 }, 0x1},
		"a bit":   {func(f *mifaretest.Frame) { f.Data[1] ^= 4; f.Parity[1] ^= 1 }, 0x1},
		"nothing": {func(*mifaretest.Frame) {}, 0x0},
	} {
		p := active(t, "classic-1k")
		if !p.auth(0x60, 4, transportKey) {
			t.Fatal("got no authentication, want one")
		}
		f := p.cipher.Encrypt(sealed(0x30, 0x08)) // of another sector
		tc.spoil(&f)
		r, _ := p.card.Answer(f)
		nak, _ := p.cipher.Decrypt(r.Frame)
		if nak.Bits != 4 || nak.Data[0] != tc.want {
			t.Errorf("%s spoiled: got %d bits % x, want NAK %x", name, nak.Bits, nak.Data, tc.want)
		}
		if got := p.card.State(); got != "IDLE" {
			t.Errorf("%s spoiled: got %s, want IDLE", name, got)
		}
	}
}

func TestClassicAccessBits(t *testing.T) {
	p := active(t, "classic-1k")
	keyB := [6]byte{0xB0, 1, 2, 3, 4, 5}
	// Data: read by A or B, write by B; trailer: written by B (MF1S50YYX, 8.7).
	trailer := [16]byte{0xA0, 1, 2, 3, 4, 5, 0x78, 0x77, 0x88, 0x69, 0xB0, 1, 2, 3, 4, 5}
	p.auth(0x60, 7, transportKey)
	if got, want := p.read(7)[:6], make([]byte, 6); !bytes.Equal(got, want) {
		t.Errorf("got key A % x, want zeros", got)
	}
	if !p.write(7, trailer) {
		t.Fatal("got NAK to the trailer, want ACK")
	}
	p.wake()
	if !p.auth(0x60, 4, [6]byte{0xA0, 1, 2, 3, 4, 5}) || p.read(4) == nil {
		t.Fatal("key A: got no read, want one")
	}
	if p.write(4, [16]byte{1}) {
		t.Error("key A: got a write, want NAK")
	}
	p.wake()
	if !p.auth(0x61, 4, keyB) || !p.write(4, [16]byte{1}) {
		t.Error("key B: got no write, want one")
	}
	if got := p.read(7); got == nil || !bytes.Equal(got[10:], make([]byte, 6)) {
		t.Errorf("got trailer % x, want key B hidden", got)
	}
}

func TestKeyBThatCanBeReadIsNoKey(t *testing.T) {
	p := active(t, "classic-1k")
	if !p.auth(0x61, 4, transportKey) {
		t.Fatal("got no authentication, want one")
	}
	if got := p.read(4); got != nil {
		t.Errorf("got % x, want NAK", got)
	}
}

func TestBackdoorOfGen1a(t *testing.T) {
	c := lookup(t, "gen1a")
	ackOf := func(f mifaretest.Frame) {
		t.Helper()
		if r, ok := c.Answer(f); !ok || r.Bits != 4 || r.Data[0] != 0xA {
			t.Fatalf("% x: got % x, want ACK", f.Data, r.Data)
		}
	}
	ackOf(short(0x40))
	ackOf(frame(0x43))
	ackOf(sealed(0xA0, 0x00))
	ackOf(sealed(0xCA, 0xFE, 0xBA, 0xBE, 0x00, 0x20, 0x44, 0x03, 0, 0, 0, 0, 0, 0, 0, 0))
	c.Power(false)
	c.Power(true)
	expect(t, c, reqa, 0x44, 0x03)
	expect(t, c, frame(0x93, 0x20), 0xCA, 0xFE, 0xBA, 0xBE, 0xCA^0xFE^0xBA^0xBE^0x10)
	expect(t, lookup(t, "classic-1k"), short(0x40))
}
