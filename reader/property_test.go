package reader_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// rounds is how many cases a property is tried on.
func rounds(n int) int {
	if testing.Short() || raceDetector {
		return n / 8
	}
	return n
}

// Any set of up to eight cards that comes in any order, some of them together and
// some in the middle of a frame, taps card by card, once; and leaves so.
func TestAnySetInAnyOrderTapsOnce(t *testing.T) {
	for seed := range uint64(rounds(200)) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		r := newRig(t, readertest.Opts{AbsoluteCollPos: seed%2 == 1}, nil)
		var cards []*mifaretest.Card
		var want []string
		for len(cards) < 1+int(seed%8) {
			c := plainCard(t, hexUID(randomUID(rnd, []int{4, 7, 10}[rnd.IntN(3)])))
			cards, want = append(cards, c), append(want, c.UID().String())
			at := time.Duration(rnd.Int64N(int64(600 * time.Millisecond)))
			r.chip.At(at, func() { r.chip.Put(c) })
		}
		r.run(3 * time.Second)
		r.wantTaps(want...)
		r.wantRemoved()
		for _, c := range cards {
			at := r.chip.Now() + time.Duration(rnd.Int64N(int64(600*time.Millisecond)))
			r.chip.At(at, func() { r.chip.Remove(c) })
		}
		r.run(2 * time.Second)
		r.wantRemoved(want...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Whatever goes wrong and whenever: no cycle takes longer than a second, no UID is
// told that is not in the field, a card that stays neither leaves nor comes again,
// and two seconds after the last fault a new card is found.
func TestAnyFaultSchedule(t *testing.T) {
	for seed := range uint64(rounds(400)) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { faultSchedule(t, seed) }) {
			return
		}
	}
}

func faultSchedule(t *testing.T, seed uint64) {
	r := newRig(t, readertest.Opts{AbsoluteCollPos: seed%2 == 1}, func(o *reader.Opts) {
		if seed%3 == 0 {
			o.Reset = nil
		}
	})
	r.plain("11111111")
	end := 0
	for _, f := range readertest.Faults(seed, 1+int(seed%12)) {
		r.inject(f)
		end = max(end, f.At+f.Count+1)
	}
	for r.chip.Stats().Transfers <= end {
		r.cycle()
	}
	c := plainCard(t, "22222222223344")
	r.chip.Put(c)
	for until := r.chip.Now() + 2*time.Second; r.chip.Now() < until && len(r.taps()) < 2; {
		r.cycle()
	}
	r.wantTaps("11111111", c.UID().String())
	r.wantRemoved()
}

// cycle is one round of Run, which must not take longer than a second.
func (r *rig) cycle() {
	r.Helper()
	began := r.chip.Now()
	for _, e := range r.dev.Cycle() {
		r.told = append(r.told, told{r.chip.Now(), e})
	}
	if took := r.chip.Now() - began; took > time.Second {
		r.Fatalf("got a cycle of %v, want at most 1 s", took)
	}
	r.chip.Sleep(20 * time.Millisecond)
}

// Two readers on one board share nothing but the board: each tells its own cards,
// and one that is dead does not hold up the other.
func TestTwoReadersOnOneBoard(t *testing.T) {
	ce0 := newRig(t, readertest.Opts{}, nil)
	ce1 := newRig(t, readertest.Opts{}, nil)
	ce0.plain("11111111")
	ce1.plain("22222222")
	for range 50 {
		ce0.cycle()
		ce1.cycle()
	}
	ce0.inject(readertest.Fault{Kind: readertest.FaultMISOFF, Count: 1 << 30})
	ce1.plain("33333333")
	for range 50 {
		ce0.cycle()
		ce1.cycle()
	}
	ce0.wantTaps("11111111")
	ce1.wantTaps("22222222", "33333333")
	if got := []reader.State{ce0.dev.Health().State, ce1.dev.Health().State}; slices.Equal(got, []reader.State{reader.StateReady, reader.StateReady}) {
		t.Errorf("got %v, want the first one in trouble", got)
	}
}
