package mifaretest_test

import (
	"bytes"
	"slices"
	"testing"

	"badged/mifare"
	"badged/mifare/mifaretest"
)

// frame is b as whole bytes.
func frame(b ...byte) mifaretest.Frame { return mifaretest.Frame{Data: b, Bits: 8 * len(b)} }

// sealed is b with its CRC_A.
func sealed(b ...byte) mifaretest.Frame { return frame(mifare.AppendCRCA(b)...) }

func short(v byte) mifaretest.Frame { return mifaretest.Frame{Data: []byte{v}, Bits: 7} }

var (
	reqa = short(0x26)
	wupa = short(0x52)
	hlta = sealed(0x50, 0x00)
	rats = sealed(0xE0, 0x50)
)

// lookup is a powered card of a kind.
func lookup(t *testing.T, kind string) *mifaretest.Card {
	t.Helper()
	s, err := mifaretest.Lookup(kind)
	if err != nil {
		t.Fatal(err)
	}
	c := mifaretest.New(s)
	c.Power(true)
	return c
}

// expect sends f and wants an answer of whole bytes, or silence for nil.
func expect(t *testing.T, c *mifaretest.Card, f mifaretest.Frame, want ...byte) {
	t.Helper()
	r, ok := c.Answer(f)
	if ok != (want != nil) || !bytes.Equal(r.Data, want) {
		t.Errorf("% x: got % x, %v, want % x", f.Data, r.Data, ok, want)
	}
}

// choose goes through the cascade without collisions and returns the SAKs.
func choose(t *testing.T, c *mifaretest.Card) (saks []byte) {
	t.Helper()
	for _, sel := range []byte{0x93, 0x95, 0x97} {
		r, ok := c.Answer(frame(sel, 0x20))
		if !ok || r.Bits != 40 {
			t.Fatalf("SEL %x: got %d bits, %v, want 40", sel, r.Bits, ok)
		}
		sak, ok := c.Answer(sealed(append([]byte{sel, 0x70}, r.Data...)...))
		if !ok {
			t.Fatalf("SELECT %x: got silence, want SAK", sel)
		}
		saks = append(saks, sak.Data[0])
		if sak.Data[0]&0x04 == 0 {
			return saks
		}
	}
	return saks
}

func TestStateMachine(t *testing.T) {
	selectCL1 := sealed(0x93, 0x70, 0x9C, 0x59, 0x9B, 0x32, 0x6C)
	for name, tc := range map[string]struct {
		frames []mifaretest.Frame
		want   string
	}{
		"power on":                        {nil, "IDLE"},
		"request":                         {[]mifaretest.Frame{reqa}, "READY"},
		"wake-up":                         {[]mifaretest.Frame{wupa}, "READY"},
		"second request is a wrong frame": {[]mifaretest.Frame{reqa, reqa}, "IDLE"},
		"anticollision stays":             {[]mifaretest.Frame{reqa, frame(0x93, 0x20)}, "READY"},
		"another level's SEL":             {[]mifaretest.Frame{reqa, frame(0x95, 0x20)}, "IDLE"},
		"NVB that lies":                   {[]mifaretest.Frame{reqa, frame(0x93, 0x30)}, "IDLE"},
		"NVB with nine bits":              {[]mifaretest.Frame{reqa, frame(0x93, 0x29)}, "IDLE"},
		"select":                          {[]mifaretest.Frame{reqa, selectCL1}, "ACTIVE"},
		"select of another card":          {[]mifaretest.Frame{reqa, sealed(0x93, 0x70, 1, 2, 3, 4, 4)}, "IDLE"},
		"select with wrong CRC":           {[]mifaretest.Frame{reqa, frame(0x93, 0x70, 0x9C, 0x59, 0x9B, 0x32, 0x6C, 0, 0)}, "IDLE"},
		"active hears no request":         {[]mifaretest.Frame{reqa, selectCL1, wupa}, "IDLE"},
		"halt":                            {[]mifaretest.Frame{reqa, selectCL1, hlta}, "HALT"},
		"halt too early":                  {[]mifaretest.Frame{reqa, hlta}, "IDLE"},
		"halted hears no REQA":            {[]mifaretest.Frame{reqa, selectCL1, hlta, reqa}, "HALT"},
		"halted hears WUPA":               {[]mifaretest.Frame{reqa, selectCL1, hlta, wupa}, "READY*"},
		"active from halt":                {[]mifaretest.Frame{reqa, selectCL1, hlta, wupa, selectCL1}, "ACTIVE*"},
		"wrong frame in active*":          {[]mifaretest.Frame{reqa, selectCL1, hlta, wupa, selectCL1, rats}, "HALT"},
		"wrong frame in ready*":           {[]mifaretest.Frame{reqa, selectCL1, hlta, wupa, reqa}, "HALT"},
		"RATS to a Classic":               {[]mifaretest.Frame{reqa, selectCL1, rats}, "IDLE"},
		"wrong parity":                    {[]mifaretest.Frame{reqa, {Data: []byte{0x93, 0x20}, Bits: 16, Parity: []byte{1, 1}}}, "IDLE"},
	} {
		t.Run(name, func(t *testing.T) {
			c := lookup(t, "classic-1k")
			for _, f := range tc.frames {
				c.Answer(f)
			}
			if got := c.State(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestWithoutPowerNothingAnswers(t *testing.T) {
	c := lookup(t, "classic-1k")
	expect(t, c, reqa, 0x04, 0x00)
	c.Power(false)
	expect(t, c, reqa)
	c.Power(true)
	expect(t, c, reqa, 0x04, 0x00)
}

func TestAnticollisionGoesOnFromAnyBit(t *testing.T) {
	cl1 := []byte{0x9C, 0x59, 0x9B, 0x32, 0x6C}
	for known := range 40 {
		for _, flip := range []bool{false, true} {
			c := lookup(t, "classic-1k")
			c.Answer(reqa)
			ask := append([]byte{0x93, byte(2+known/8)<<4 | byte(known%8)}, cl1[:(known+7)/8]...)
			if flip && known > 0 {
				ask[2+(known-1)/8] ^= 1 << ((known - 1) % 8)
			}
			r, ok := c.Answer(mifaretest.Frame{Data: ask, Bits: 16 + known})
			if flip && known > 0 {
				if ok || c.State() != "IDLE" {
					t.Errorf("%d known bits, one wrong: got answer %v in %s, want silence in IDLE", known, ok, c.State())
				}
				continue
			}
			if !ok || r.Bits != 40-known {
				t.Fatalf("%d known bits: got %d bits, %v, want %d", known, r.Bits, ok, 40-known)
			}
			for i := range r.Bits {
				want := cl1[(known+i)/8] >> ((known + i) % 8) & 1
				if got := r.Data[i/8] >> (i % 8) & 1; got != want {
					t.Errorf("%d known bits: got bit %d as %d, want %d", known, i, got, want)
				}
			}
		}
	}
}

func TestCascade(t *testing.T) {
	for kind, want := range map[string][]byte{
		"classic-1k":         {0x08},
		"classic-ev1":        {0x04, 0x08},
		"triple-size":        {0x04, 0x04, 0x08},
		"endless-cascade":    {0x04, 0x04, 0x04},
		"ct-complete":        {0x08},
		"smartmx-classic-4k": {0x38},
	} {
		c := lookup(t, kind)
		c.Answer(reqa)
		if got := choose(t, c); !bytes.Equal(got, want) {
			t.Errorf("%s: got SAKs % x, want % x", kind, got, want)
		}
	}
}

func TestMalformedCards(t *testing.T) {
	t.Run("BCC", func(t *testing.T) {
		c := lookup(t, "bad-bcc")
		c.Answer(reqa)
		expect(t, c, frame(0x93, 0x20), 0xDE, 0xAD, 0xBE, 0xEF, 0xDE^0xAD^0xBE^0xEF^0x10)
	})
	t.Run("CRC of SAK", func(t *testing.T) {
		c := lookup(t, "bad-sak-crc")
		c.Answer(reqa)
		r, _ := c.Answer(frame(0x93, 0x20))
		sak, _ := c.Answer(sealed(append([]byte{0x93, 0x70}, r.Data...)...))
		if _, ok := mifare.CutCRCA(sak.Data); ok || len(sak.Data) != 3 {
			t.Errorf("got SAK % x, want one with a wrong CRC", sak.Data)
		}
	})
	t.Run("ATQA", func(t *testing.T) { expect(t, lookup(t, "short-atqa"), reqa, 0x04) })
	t.Run("ATS", func(t *testing.T) {
		c := lookup(t, "bad-ats")
		c.Answer(reqa)
		choose(t, c)
		r, _ := c.Answer(rats)
		if len(r.Data) == 0 || int(r.Data[0]) == len(r.Data)-2 {
			t.Errorf("got ATS % x, want one whose TL lies", r.Data)
		}
	})
}

func TestRandomUIDIsNewAtEveryPowerUp(t *testing.T) {
	c := lookup(t, "phone-hce")
	seen := map[mifare.UID]bool{}
	for range 20 {
		seen[c.UID()] = true
		if b := c.UID().Bytes(); len(b) != 4 || b[0] != 0x08 {
			t.Fatalf("got UID % x, want 08 and three bytes", b)
		}
		c.Power(true) // no new power-up
		if !seen[c.UID()] {
			t.Fatal("got a new UID without losing power")
		}
		c.Power(false)
		c.Power(true)
	}
	if len(seen) < 20 {
		t.Errorf("got %d UIDs at 20 power-ups, want 20", len(seen))
	}
}

func TestEveryKindAnswersWithItsOwnUID(t *testing.T) {
	for _, kind := range mifaretest.Kinds() {
		c := lookup(t, kind)
		if r, ok := c.Answer(wupa); !ok || r.Bits == 0 {
			t.Errorf("%s: got silence to WUPA, want ATQA", kind)
		}
		r, ok := c.Answer(frame(0x93, 0x20))
		uid := c.UID().Bytes()
		if first := slices.Index(r.Data, uid[0]); !ok || first < 0 || first > 1 {
			t.Errorf("%s: got % x, want UID % x", kind, r.Data, uid)
		}
	}
	if _, err := mifaretest.Lookup("oyster"); err == nil {
		t.Error("unknown kind: got no error, want one")
	}
}

func FuzzCardNeverPanics(f *testing.F) {
	f.Add([]byte{7, 0x26, 16, 0x93, 0x20})
	f.Add([]byte{7, 0x52, 72, 0x93, 0x70, 1, 2, 3, 4, 4, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, kind := range []string{"classic-1k", "desfire-ev2", "ntag21x", "triple-size", "gen1a"} {
			c := lookup(t, kind)
			for rest := script; len(rest) > 1; {
				n := min(int(rest[0]), 8*(len(rest)-1))
				r, _ := c.Answer(mifaretest.Frame{Data: rest[1 : 1+(n+7)/8], Bits: n})
				if r.Bits > 8*len(r.Data) {
					t.Fatalf("%s: got %d bits in %d bytes", kind, r.Bits, len(r.Data))
				}
				rest = rest[1+(n+7)/8:]
				if n == 0 {
					break
				}
			}
		}
	})
}
