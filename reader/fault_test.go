package reader_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"periph.io/x/conn/v3/physic"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// soak is how much of the chip's time TestSoak covers.
var soak = flag.Duration("soak", 0, "virtual time of TestSoak; 0 is 10 minutes, 2 with -short")

func TestRecoversFrom(t *testing.T) {
	for name, f := range map[string]readertest.Fault{
		"reset of the chip":     {Kind: readertest.FaultReset},
		"stuck Crypto1":         {Kind: readertest.FaultStuckCrypto},
		"antenna switched off":  {Kind: readertest.FaultAntennaOff},
		"bus at 00":             {Kind: readertest.FaultMISO00, For: 500 * time.Millisecond},
		"bus at FF":             {Kind: readertest.FaultMISOFF, For: 500 * time.Millisecond},
		"bit flips":             {Kind: readertest.FaultBitFlips, Count: 200, Rate: 0.02, Seed: 7},
		"transfers that fail":   {Kind: readertest.FaultEIO, For: 500 * time.Millisecond},
		"overheating":           {Kind: readertest.FaultTempErr, For: 500 * time.Millisecond},
		"a timer that is dead":  {Kind: readertest.FaultDeadTimer, Count: 200},
		"noise":                 {Kind: readertest.FaultNoise, Count: 200, Seed: 3},
		"bursts that break":     {Kind: readertest.FaultBurstBroken, Count: 100},
		"bursts always broken":  {Kind: readertest.FaultBurstBroken, Count: 1 << 30},
		"timer dead for always": {Kind: readertest.FaultDeadTimer, Count: 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			held := r.plain("11111111")
			r.run(time.Second)
			f.At = 5
			r.inject(f)
			r.run(3 * time.Second)
			if h := r.dev.Health(); h.State != reader.StateReady {
				t.Fatalf("got state %s: %v, want ready", h.State, h.Err)
			}
			r.plain("22222222")
			r.run(time.Second)
			r.wantTaps("11111111", "22222222")
			r.wantRemoved()
			r.chip.Remove(held)
			r.run(time.Second)
			r.wantRemoved("11111111")
		})
	}
}

func TestTellsLostAndBack(t *testing.T) {
	for name, kind := range map[string]readertest.FaultKind{
		"bus at 00": readertest.FaultMISO00, "bus at FF": readertest.FaultMISOFF, "transfers fail": readertest.FaultEIO,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, func(o *reader.Opts) { o.MaxSpeed = 10 * physic.MegaHertz })
			r.plain("04A1B2C3")
			r.run(time.Second)
			broke := r.chip.Now()
			r.inject(readertest.Fault{Kind: kind, Count: 1 << 30})
			r.run(20 * time.Second)
			if at := when[reader.Lost](r, broke); at < 0 || at > broke+5*time.Second {
				t.Errorf("got Lost at %v, want within 5 s of %v", at, broke)
			}
			if h := r.dev.Health(); h.State != reader.StateLost || h.Err == nil {
				t.Errorf("got health %+v, want lost with a reason", h)
			}
			repaired := r.chip.Now()
			r.chip.Clear()
			r.run(2 * time.Second)
			if at := when[reader.Back](r, repaired); at < 0 || at > repaired+time.Second {
				t.Errorf("got Back at %v, want within 1 s of %v", at, repaired)
			}
			if h := r.dev.Health(); h.Speed != 10*physic.MegaHertz {
				t.Errorf("got speed %v after the repair, want 10 MHz again", h.Speed)
			}
			r.wantTaps("04A1B2C3")
			r.wantRemoved()
		})
	}
}

// Heat is told as heat, whether it came at work or was there before the start, and
// a reset does not make it something else.
func TestHeatIsToldAsHeat(t *testing.T) {
	for name, before := range map[string]time.Duration{"from the start": 0, "at work": time.Second} {
		r := newRig(t, readertest.Opts{}, nil)
		r.run(before)
		r.inject(readertest.Fault{Kind: readertest.FaultTempErr, For: 10 * time.Second})
		r.run(5 * time.Second)
		var f *reader.Fault
		if h := r.dev.Health(); !errors.As(h.Err, &f) || f.Kind != reader.FaultHeat || h.State != reader.StateLost {
			t.Errorf("%s: got %s, %v, want lost for heat", name, h.State, h.Err)
		}
		r.run(8 * time.Second)
		r.plain("04A1B2C3")
		r.run(time.Second)
		r.wantTaps("04A1B2C3")
	}
}

func TestStartsWithoutAReader(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	r.inject(readertest.Fault{Kind: readertest.FaultMISOFF, Count: 1 << 30})
	_, err := r.dev.Scan()
	var f *reader.Fault
	if !errors.As(err, &f) || f.Kind != reader.FaultWiring || f.Hint() == "" {
		t.Errorf("got %v, want a wiring fault with a hint", err)
	}
	r.run(10 * time.Second)
	r.chip.Clear()
	r.plain("04A1B2C3")
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
}

func TestHeldCardTapsOnceInNoise(t *testing.T) {
	d := 4 * time.Minute
	if testing.Short() {
		d = time.Minute
	}
	r := newRig(t, readertest.Opts{}, nil)
	c := r.plain("04A1B2C3D4E5F6")
	r.run(time.Second)
	r.inject(readertest.Fault{Kind: readertest.FaultNoise, Count: 1 << 30, Rate: 0.3, Seed: 11})
	r.run(d)
	r.wantTaps("04A1B2C3D4E5F6")
	r.wantRemoved()
	r.chip.Clear()
	r.chip.Remove(c)
	r.run(time.Second)
	r.wantRemoved("04A1B2C3D4E5F6")
}

// TestSoak puts cards in and out at random while faults of all kinds come and
// go. No UID may be told that is not in the field, and every card that stays
// long enough after the last fault must be found.
func TestSoak(t *testing.T) {
	d := *soak
	if d == 0 {
		if d = 10 * time.Minute; testing.Short() {
			d = 2 * time.Minute
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for end, round := d, 0; end > 0 && !t.Failed(); round++ {
		r := newRig(t, readertest.Opts{AbsoluteCollPos: round%2 == 1}, func(o *reader.Opts) { o.Reset = nil })
		end -= soakRound(r, rnd)
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
