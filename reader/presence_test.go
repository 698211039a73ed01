package reader_test

import (
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

func TestHeldCardTapsOnce(t *testing.T) {
	for _, kind := range mifaretest.Kinds() {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			c := r.card(kind)
			r.run(3 * time.Second)
			if kind == "bad-bcc" || kind == "bad-sak-crc" {
				r.wantTaps()
				return
			}
			if n := len(r.taps()); n != 1 {
				t.Errorf("got %d taps %v, want 1", n, r.taps())
			}
			r.wantRemoved()
			r.chip.Remove(c)
			r.run(time.Second)
			if n := len(r.removed()); n != 1 || r.removed()[0] != r.taps()[0] {
				t.Errorf("got removals %v, want the UID that tapped, %v", r.removed(), r.taps())
			}
		})
	}
}

func TestTapTellsWhoIsStillThere(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	r.plain("11111111")
	r.run(time.Second)
	r.plain("11111110")
	r.run(time.Second)
	r.wantTaps("11111111", "11111110")
	tap := r.told[len(r.told)-1].event.(reader.Tap)
	if len(tap.Held) != 1 || tap.Held[0].UID.String() != "11111111" {
		t.Errorf("got held %v, want 11111111", names(tap.Held))
	}
	r.wantRemoved()
}

func TestShortAbsenceIsTheSameVisit(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	c := r.plain("04A1B2C3")
	r.run(time.Second)
	r.chip.Remove(c)
	r.run(100 * time.Millisecond)
	r.chip.Put(c)
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
	r.wantRemoved()
}

func TestRemovalAndReturnTapAgain(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	c := r.plain("04A1B2C3")
	r.run(time.Second)
	r.chip.Remove(c)
	left := r.chip.Now()
	r.run(500 * time.Millisecond)
	if at := when[reader.Removed](r, 0); at < left+100*time.Millisecond || at > left+300*time.Millisecond {
		t.Errorf("got Removed %v after the card left, want 100 to 300 ms", at-left)
	}
	r.chip.Put(c)
	r.run(time.Second)
	r.wantTaps("04A1B2C3", "04A1B2C3")
	r.wantRemoved("04A1B2C3")
}

func TestNewRandomUIDIsTheSameVisit(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	c := r.card("phone-hce")
	r.run(time.Second)
	for range 5 {
		r.chip.Remove(c)
		r.run(60 * time.Millisecond)
		r.chip.Put(c)
		r.run(500 * time.Millisecond)
	}
	if n := len(r.taps()); n != 1 {
		t.Errorf("got %d taps %v, want 1", n, r.taps())
	}
	r.wantRemoved()
}

func TestOneOfTwoLeaves(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	a, _ := r.plain("AAAAAAAA"), r.plain("AAAAAAAB")
	r.run(time.Second)
	r.chip.Remove(a)
	r.run(time.Second)
	r.wantTaps("AAAAAAAA", "AAAAAAAB")
	r.wantRemoved("AAAAAAAA")
	r.chip.Put(a)
	r.run(time.Second)
	r.wantTaps("AAAAAAAA", "AAAAAAAA", "AAAAAAAB")
}

func TestBadgesSwappedQuickly(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	a := r.plain("AAAAAAAA")
	r.run(time.Second)
	r.chip.Remove(a)
	r.plain("BBBBBBBB")
	r.run(time.Second)
	r.wantTaps("AAAAAAAA", "BBBBBBBB")
	r.wantRemoved("AAAAAAAA")
	for _, e := range r.told {
		if tap, ok := e.event.(reader.Tap); ok && len(tap.Held) > 0 {
			t.Errorf("got held %v, want nobody: the first badge had left", names(tap.Held))
		}
	}
}

// stubborn is a card that never goes to HALT: it hears neither HLTA nor S(DESELECT).
type stubborn struct{ *mifaretest.Card }

func (s stubborn) Answer(f mifaretest.Frame) (mifaretest.Reply, bool) {
	if len(f.Data) > 1 && (f.Data[0] == 0x50 || f.Data[0] == 0xC2) {
		return mifaretest.Reply{}, false
	}
	return s.Card.Answer(f)
}

func TestCardThatNeverHaltsTapsOnce(t *testing.T) {
	for _, kind := range []string{"classic-1k", "desfire-ev1", "phone-hce"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			s, err := mifaretest.Lookup(kind)
			if err != nil {
				t.Fatal(err)
			}
			r.chip.Put(stubborn{mifaretest.New(s)})
			r.run(5 * time.Second)
			if n := len(r.taps()); n != 1 {
				t.Errorf("got %d taps %v, want 1", n, r.taps())
			}
			r.wantRemoved()
		})
	}
}
