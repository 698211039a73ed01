package reader_test

import (
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/devices/v3/mfrc522"

	"badged/reader/readertest"
)

// promptIRQ is an IRQ pin that has just had its edge, so that the peer's own wait
// for a card costs nothing in the comparison.
type promptIRQ struct{ gpio.PinIn }

func (promptIRQ) In(gpio.Pull, gpio.Edge) error        { return nil }
func (promptIRQ) WaitForEdge(limit time.Duration) bool { return limit > 0 }

// peerRead reads the card uid with periph's mfrc522, unchanged.
func peerRead(t testing.TB, uid string) (time.Duration, readertest.Stats) {
	t.Helper()
	chip := readertest.New(readertest.Opts{})
	dev, err := mfrc522.NewSPI(chip.Port(), chip.ResetPin(), promptIRQ{chip.IRQPin()})
	if err != nil {
		t.Fatal(err)
	}
	card := plainCard(t, uid)
	chip.Put(card)
	chip.Sleep(10 * time.Millisecond)
	return meter(chip, func() {
		got, err := dev.ReadUID(time.Second)
		if want := card.UID().Bytes(); err != nil || string(got) != string(want) {
			t.Logf("peer: got %X, %v, want %X", got, err, want)
		}
	})
}

// BenchmarkReadPeer is BenchmarkRead with periph's driver, whose read includes
// its initialisation, and how many times as much it costs as ours.
func BenchmarkReadPeer(b *testing.B) {
	for name, uid := range map[string]string{"single": "04A1B2C3", "double": "04A1B2C3D4E5F6"} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			var s readertest.Stats
			for b.Loop() {
				took, s = peerRead(b, uid)
			}
			report(b, took, s)
			ours, os := readOne(b, uid)
			b.ReportMetric(float64(took)/float64(ours), "x-our-time")
			b.ReportMetric(float64(s.Transfers)/float64(os.Transfers), "x-our-transfers")
		})
	}
}
