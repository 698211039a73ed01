package reader_test

import (
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// scripted is a card that answers whatever comes with the next piece of a script:
// a byte for the number of bits, then the bits.
type scripted struct{ script []byte }

func (*scripted) Power(bool) {}

func (s *scripted) Answer(mifaretest.Frame) (mifaretest.Reply, bool) {
	if len(s.script) == 0 {
		return mifaretest.Reply{}, false
	}
	bits := int(s.script[0])
	n := (bits + 7) / 8
	data := make([]byte, n)
	s.script = s.script[1+copy(data, s.script[1:]):]
	return mifaretest.Reply{Frame: mifaretest.Frame{Data: data, Bits: bits}}, bits > 0
}

// FuzzCards: whatever a card says, a scan ends within a second, what it calls a
// card has a UID and a SAK, and the reader works on.
func FuzzCards(f *testing.F) {
	atqa, level, sak := "\x10\x04\x00", "\x28\x9C\x59\x9B\x32\x6C", "\x18\x08\xB6\xDD"
	f.Add([]byte(atqa + level + sak))
	f.Add([]byte("\x10\x44\x03\x28\x88\x04\x98\x29\x3D\x18\x04\xDA\x17" + "\x28\x0C\xC1\xFB\x80\xB6\x18\x20\xFC\x70" + "\x40\x06\x75\x77\x81\x02\x80\x02\xF0"))
	f.Add([]byte(atqa + "\x28\xDE\xAD\xBE\xE0\x00" + atqa + level + "\x18\x08\x00\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		chip := readertest.New(readertest.Opts{})
		dev, err := reader.New(chip.Port(), reader.Opts{Clock: chip, PlusATS: len(script)%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		chip.Put(&scripted{script})
		began := chip.Now()
		cards, _ := dev.Scan()
		if took := chip.Now() - began; took > time.Second {
			t.Errorf("got a scan of %v, want at most 1 s", took)
		}
		for _, c := range cards {
			if c.UID.Len() == 0 || len(c.SAKs) == 0 {
				t.Errorf("got card %+v, want a UID and a SAK", c)
			}
		}
		r := &rig{T: t, chip: chip, dev: dev}
		r.run(500 * time.Millisecond)
		if h := dev.Health(); h.State != reader.StateReady || h.Faults > 0 {
			t.Errorf("got health %+v, want a reader that works: no card is a fault", h)
		}
	})
}
