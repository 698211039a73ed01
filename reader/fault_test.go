package reader_test

import (
	"errors"
	"testing"
	"time"

	"periph.io/x/conn/v3/physic"

	"badged/reader"
	"badged/reader/readertest"
)

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
