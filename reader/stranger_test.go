package reader_test

import (
	"fmt"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// unreadable counts how often a card was said to be unreadable.
func (r *rig) unreadable() (n int) {
	for _, e := range r.told {
		if _, ok := e.event.(reader.Unreadable); ok {
			n++
		}
	}
	return n
}

func (r *rig) wantUnreadable(want int) {
	r.Helper()
	if got := r.unreadable(); got != want {
		r.Errorf("got %d cards said to be unreadable, want %d; told %+v", got, want, r.told)
	}
}

// Cards that answer and never give a UID are told once a visit, soon.
func TestUnreadableCardIsToldOnceAVisit(t *testing.T) {
	for _, kind := range []string{"bad-bcc", "bad-sak-crc"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			r.run(100 * time.Millisecond)
			for visit := 1; visit <= 3; visit++ {
				came := r.chip.Now()
				c := r.card(kind)
				r.run(3 * time.Second)
				r.wantUnreadable(visit)
				if at := when[reader.Unreadable](r, came); at > came+300*time.Millisecond {
					t.Errorf("got it %v after the card came, want within 300 ms", at-came)
				}
				r.chip.Remove(c)
				r.run(time.Second)
			}
			r.wantTaps()
			if h := r.dev.Health(); h.Unreadable != 3 || h.State != reader.StateReady || h.Faults != 0 {
				t.Errorf("got health %+v, want 3 unreadable visits and no fault", h)
			}
		})
	}
}

func TestUnreadableCardBesideAGoodOneIsNotTold(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	bad, good := r.card("bad-bcc"), r.plain("04112233")
	r.run(2 * time.Second)
	r.chip.Remove(good)
	r.run(time.Second)
	r.chip.Remove(bad)
	r.run(time.Second)
	r.wantTaps("04112233")
	r.wantRemoved("04112233")
	r.wantUnreadable(0)
}

// A card with an endless cascade, or a cascade tag for a UID, has a UID of sorts:
// it taps, with a note that says what is wrong.
func TestSelfContradictingCardsTapWithANote(t *testing.T) {
	for _, kind := range []string{"endless-cascade", "ct-complete", "cascade-without-ct"} {
		r := newRig(t, readertest.Opts{}, nil)
		r.card(kind)
		r.run(2 * time.Second)
		tap, ok := r.told[len(r.told)-1].event.(reader.Tap)
		if !ok || len(r.told) != 2 || len(tap.New) != 1 || len(tap.New[0].Notes) == 0 {
			t.Errorf("%s: got %+v, want one tap with a note", kind, r.told)
		}
		r.wantUnreadable(0)
	}
}

// passer is a card that is in the field for a moment now and then.
func passer(r *rig, c *mifaretest.Card, stay, away time.Duration) {
	for range 20 {
		r.chip.Put(c)
		r.run(stay)
		r.chip.Remove(c)
		r.run(away)
	}
}

func TestNoiseIsNeverAnUnreadableCard(t *testing.T) {
	for _, kind := range []readertest.FaultKind{readertest.FaultNoise, readertest.FaultBitFlips, readertest.FaultBurstBroken} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(kind, seed), func(t *testing.T) {
				r := newRig(t, readertest.Opts{}, nil)
				rate := []float64{1, 0.5, 0.1, 0.01}[seed]
				r.inject(readertest.Fault{Kind: kind, Count: 1 << 30, Rate: rate, Seed: seed})
				r.run(30 * time.Second)
				passer(r, plainCard(t, "04A1B2C3D4E5F6"), 200*time.Millisecond, 300*time.Millisecond)
				r.wantUnreadable(0)
			})
		}
	}
}
