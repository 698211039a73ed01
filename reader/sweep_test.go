package reader_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// faint is a card that is heard at some gains only.
type faint struct {
	*mifaretest.Card
	heard func() bool
}

func (f faint) Answer(q mifaretest.Frame) (mifaretest.Reply, bool) {
	r, ok := f.Card.Answer(q)
	return r, ok && f.heard()
}

// A held card that most gains of the sweep do not read stays, and does not tap again.
func TestSweepGain(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	r.chip.Put(&faint{plainCard(t, "04A1B2C3"), func() bool { return slices.Contains([]int{33, 38}, r.dev.Health().GainDB) }})
	r.run(time.Second)
	rates, err := r.dev.SweepGain(t.Context(), 10)
	if err != nil || len(rates) != 6 {
		t.Fatalf("got %+v, %v, want 6 gains", rates, err)
	}
	for i, want := range []reader.GainRate{{18, 10, 0, 0}, {23, 10, 0, 0}, {33, 10, 10, 1}, {38, 10, 10, 1}, {43, 10, 0, 0}, {48, 10, 0, 0}} {
		if rates[i] != want {
			t.Errorf("got %+v, want %+v", rates[i], want)
		}
	}
	if h := r.dev.Health(); h.GainDB != 33 {
		t.Errorf("got gain %d dB afterwards, want 33", h.GainDB)
	}
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
	r.wantRemoved()
}

func TestSweepGainEnds(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	r.run(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.dev.SweepGain(ctx, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	r.inject(readertest.Fault{Kind: readertest.FaultEIO, Count: 1 << 30})
	var f *reader.Fault
	if _, err := r.dev.SweepGain(t.Context(), 10); !errors.As(err, &f) {
		t.Errorf("got %v, want a fault", err)
	}
	r.chip.Clear()
	r.plain("04A1B2C3")
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
}
