package reader_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// soak is how much of the chip's time TestSoak covers. Sixty times the wall clock
// and more would do; the race detector makes it twenty times slower.
var soak = flag.Duration("soak", 0, "virtual time of TestSoak; 0 is 24 hours, 20 minutes with the race detector, 10 with -short")

func soakTime() time.Duration {
	switch {
	case *soak > 0:
		return *soak
	case testing.Short():
		return 10 * time.Minute
	case raceDetector:
		return 20 * time.Minute
	}
	return 24 * time.Hour
}

// TestSoak puts cards in and out at random while faults of all kinds come and
// go, on chips of all manners. No UID may be told that is not in the field, and
// every card that stays long enough after the last fault must be found.
func TestSoak(t *testing.T) {
	lanes := []readertest.Opts{
		{}, {AbsoluteCollPos: true}, {StartUp: 4900 * time.Microsecond, Hold: 4900 * time.Microsecond}, {Version: 0xB2},
	}
	for i, o := range lanes {
		t.Run(fmt.Sprint("lane ", i), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(3, uint64(i)))
			for left := soakTime() / time.Duration(len(lanes)); left > 0 && !t.Failed(); {
				r := newRig(t, o, func(o *reader.Opts) { o.Reset = nil })
				left -= soakRound(r, rnd)
			}
		})
	}
}

// soakRound is a minute or so of faults and cards, and then peace.
func soakRound(r *rig, rnd *rand.Rand) time.Duration {
	r.Helper()
	var in []*mifaretest.Card
	was := map[string]bool{}
	for range 30 {
		switch k := rnd.IntN(4); {
		case k == 0 && len(in) > 0:
			i := rnd.IntN(len(in))
			r.chip.Remove(in[i])
			in = slices.Delete(in, i, i+1)
		case k <= 1 && len(in) < 4:
			uid := randomUID(rnd, []int{4, 7, 10}[rnd.IntN(3)])
			c := plainCard(r.T, hexUID(uid))
			was[c.UID().String()] = true
			in = append(in, c)
			at := r.chip.Now() + time.Duration(rnd.Int64N(int64(100*time.Millisecond)))
			r.chip.At(at, func() { r.chip.Put(c) })
		case k == 2:
			r.inject(randomFault(rnd))
		}
		r.run(100*time.Millisecond + time.Duration(rnd.Int64N(int64(4*time.Second))))
	}
	r.chip.Clear()
	r.run(2 * time.Second)
	r.checkSoak(in, was)
	return r.chip.Now()
}

func (r *rig) checkSoak(in []*mifaretest.Card, was map[string]bool) {
	r.Helper()
	present := map[string]bool{}
	for _, e := range r.told {
		switch e := e.event.(type) {
		case reader.Tap:
			for _, u := range names(e.New) {
				if !was[u] {
					r.Fatalf("got tap of %s, which never was in the field", u)
				}
				if present[u] {
					r.Fatalf("got a second tap of %s without a removal", u)
				}
				present[u] = true
			}
		case reader.Removed:
			delete(present, e.Card.UID.String())
		case reader.Unreadable:
			r.Fatalf("got %+v, want none: every card is a good one", e)
		}
	}
	for _, c := range in {
		if !present[c.UID().String()] {
			r.Errorf("got %v present, want %v too: it is in the field; health %+v", present, c.UID(), r.dev.Health())
		}
	}
	if len(present) != len(in) {
		r.Errorf("got %d cards present, want %d", len(present), len(in))
	}
}

// randomFault lasts a while, or strikes once.
func randomFault(rnd *rand.Rand) readertest.Fault {
	kinds := []readertest.FaultKind{
		readertest.FaultReset, readertest.FaultMISO00, readertest.FaultMISOFF, readertest.FaultBitFlips,
		readertest.FaultEIO, readertest.FaultStuckCrypto, readertest.FaultAntennaOff,
		readertest.FaultDeadTimer, readertest.FaultNoise, readertest.FaultBurstBroken, readertest.FaultTempErr,
	}
	return readertest.Fault{Kind: kinds[rnd.IntN(len(kinds))], At: rnd.IntN(50), Count: 1 + rnd.IntN(300), Seed: rnd.Uint64()}
}
