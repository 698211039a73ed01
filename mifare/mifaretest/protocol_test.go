package mifaretest_test

import (
	"bytes"
	"testing"

	"badged/mifare/mifaretest"
)

// inProtocol is a card that has answered RATS with CID 0.
func inProtocol(t *testing.T, kind string) *mifaretest.Card {
	t.Helper()
	c := lookup(t, kind)
	c.Answer(reqa)
	choose(t, c)
	if _, ok := c.Answer(rats); !ok || c.State() != "PROTOCOL" {
		t.Fatalf("got ATS %v in %s, want one in PROTOCOL", ok, c.State())
	}
	return c
}

// wantBlock sends b with CRC_A and wants the block want.
func wantBlock(t *testing.T, c *mifaretest.Card, b []byte, want ...byte) {
	t.Helper()
	r, ok := c.Answer(sealed(b...))
	if want == nil {
		if ok {
			t.Errorf("% x: got % x, want silence", b, r.Data)
		}
		return
	}
	if w := sealed(want...).Data; !bytes.Equal(r.Data, w) {
		t.Errorf("% x: got % x, want % x", b, r.Data, w)
	}
}

func TestATS(t *testing.T) {
	c := lookup(t, "desfire-ev2")
	c.Answer(reqa)
	choose(t, c)
	expect(t, c, rats, sealed(0x06, 0x75, 0x77, 0x81, 0x02, 0x80).Data...)
}

func TestDeselectLeavesItHalted(t *testing.T) {
	c := inProtocol(t, "desfire")
	wantBlock(t, c, []byte{0xC2}, 0xC2)
	if got := c.State(); got != "HALT" {
		t.Errorf("got %s, want HALT", got)
	}
	expect(t, c, reqa)
	expect(t, c, wupa, 0x44, 0x03)
}

func TestPPSOnlyRightAfterATS(t *testing.T) {
	c := inProtocol(t, "desfire")
	wantBlock(t, c, []byte{0xD0, 0x11, 0x05}) // 424 kbit/s
	wantBlock(t, c, []byte{0xD0, 0x11, 0x00}, 0xD0)
	wantBlock(t, c, []byte{0xD0, 0x11, 0x00})
}

func TestProtocolIgnoresStrangers(t *testing.T) {
	c := inProtocol(t, "desfire")
	for _, f := range []mifaretest.Frame{reqa, wupa, hlta, frame(0x02, 0x60), sealed(0xCA, 0x03), sealed(0x06, 0x00, 0x60)} {
		expect(t, c, f)
		if got := c.State(); got != "PROTOCOL" {
			t.Fatalf("% x: got %s, want PROTOCOL", f.Data, got)
		}
	}
}

func TestGetVersionOfDESFire(t *testing.T) {
	hw := []byte{0x04, 0x01, 0x01, 0x12, 0x00, 0x1A, 0x05}
	sw := []byte{0x04, 0x01, 0x01, 0x02, 0x01, 0x1A, 0x05}
	t.Run("wrapped", func(t *testing.T) {
		c := inProtocol(t, "desfire-ev2")
		wantBlock(t, c, []byte{0x02, 0x90, 0x60, 0, 0, 0}, append(append([]byte{0x02}, hw...), 0x91, 0xAF)...)
		wantBlock(t, c, []byte{0x03, 0x90, 0xAF, 0, 0, 0}, append(append([]byte{0x03}, sw...), 0x91, 0xAF)...)
		wantBlock(t, c, []byte{0x02, 0x90, 0xAF, 0, 0, 0}, append(append([]byte{0x02}, make([]byte, 14)...), 0x91, 0x00)...)
		wantBlock(t, c, []byte{0x03, 0x90, 0xAF, 0, 0, 0}, 0x03, 0x91, 0x1C)
	})
	t.Run("native, with CID", func(t *testing.T) {
		c := lookup(t, "desfire-ev2")
		c.Answer(reqa)
		choose(t, c)
		c.Answer(sealed(0xE0, 0x53))
		wantBlock(t, c, []byte{0x02, 0x60})
		wantBlock(t, c, []byte{0x0A, 0x03, 0x60}, append([]byte{0x0A, 0x03, 0xAF}, hw...)...)
		wantBlock(t, c, []byte{0xCA, 0x03}, 0xCA, 0x03)
	})
	t.Run("not known", func(t *testing.T) {
		c := inProtocol(t, "bank-emv")
		wantBlock(t, c, []byte{0x02, 0x90, 0x60, 0, 0, 0}, 0x02, 0x91, 0x1C)
		wantBlock(t, c, []byte{0x03, 0x00, 0xA4, 0x04, 0x00}, 0x03, 0x6D, 0x00)
	})
}

func TestLostBlocksAreRepeated(t *testing.T) {
	c := inProtocol(t, "bank-emv")
	wantBlock(t, c, []byte{0xB2}, 0xA3) // NAK of a block that never came: R(ACK)
	wantBlock(t, c, []byte{0x02, 0x00, 0xB0}, 0x02, 0x6D, 0x00)
	wantBlock(t, c, []byte{0xB2}, 0x02, 0x6D, 0x00)
	wantBlock(t, c, []byte{0x13, 0x00}, 0xA3)
	wantBlock(t, c, []byte{0x02, 0xB0}, 0x02, 0x6D, 0x00)
}

func TestUltralight(t *testing.T) {
	c := lookup(t, "ntag21x")
	c.Answer(reqa)
	choose(t, c)
	expect(t, c, sealed(0x60), sealed(0x00, 0x04, 0x04, 0x02, 0x01, 0x00, 0x0F, 0x03).Data...)
	r, _ := c.Answer(sealed(0x30, 0x00))
	if got, want := r.Data[:9], []byte{0x04, 0xE7, 0xC3, 0x88 ^ 0x04 ^ 0xE7 ^ 0xC3, 0x69, 0x97, 0xFE, 0x79, 0x69 ^ 0x97 ^ 0xFE ^ 0x79}; !bytes.Equal(got, want) {
		t.Errorf("got pages % x, want % x", got, want)
	}
	if r, _ := c.Answer(sealed(0xA2, 0x04, 1, 2, 3, 4)); r.Bits != 4 || r.Data[0] != 0xA {
		t.Errorf("write: got %d bits % x, want ACK", r.Bits, r.Data)
	}
	r, _ = c.Answer(sealed(0x30, 44))
	if len(r.Data) != 18 || r.Data[4] != 0x04 {
		t.Errorf("last page: got % x, want a read that rolls over", r.Data)
	}
	if r, _ := c.Answer(sealed(0x30, 45)); r.Bits != 4 || r.Data[0] != 0 || c.State() != "IDLE" {
		t.Errorf("page 45: got % x in %s, want NAK 0 and IDLE", r.Data, c.State())
	}
}
