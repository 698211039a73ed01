package reader_test

import (
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// Floors of the air alone, from the start of REQA to the end of the last SAK:
// ISO/IEC 14443-3 with shortest frame delay times.
var floors = map[string]time.Duration{
	"04A1B2C3":             2360 * time.Microsecond,
	"04A1B2C3D4E5F6":       4360 * time.Microsecond,
	"04A1B2C3D4E5F6071829": 6360 * time.Microsecond,
}

// meter measures what f costs on the chip.
func meter(c *readertest.Chip, f func()) (took time.Duration, s readertest.Stats) {
	at, before := c.Now(), c.Stats()
	f()
	s = c.Stats()
	s.Transfers -= before.Transfers
	s.Bytes -= before.Bytes
	return c.Now() - at, s
}

func benchDev(b testing.TB) (*readertest.Chip, *reader.Dev) {
	b.Helper()
	chip := readertest.New(readertest.Opts{})
	dev, err := reader.New(chip.Port(), reader.Opts{Clock: chip})
	if err == nil {
		err = dev.BringUp()
	}
	if err != nil {
		b.Fatal(err)
	}
	return chip, dev
}

// timeToTap is the time from the poll that meets the card to its Tap.
func timeToTap(t testing.TB) time.Duration {
	t.Helper()
	chip, dev := benchDev(t)
	chip.Put(plainCard(t, "04A1B2C3"))
	chip.Sleep(10 * time.Millisecond)
	took, _ := meter(chip, func() {
		if err := dev.Poll(); err != nil || dev.Health().Taps > 1 {
			t.Error(err)
		}
	})
	return took
}

func TestFigureOfOneTap(t *testing.T) {
	limit := (2360 + 1370 + 344) * time.Microsecond * 3 / 2
	if took := timeToTap(t); took > limit {
		t.Errorf("got Tap after %v, want at most %v", took, limit)
	}
}

func report(b *testing.B, took time.Duration, s readertest.Stats) {
	b.ReportMetric(float64(took.Microseconds()), "virtual-µs")
	b.ReportMetric(float64(s.Transfers), "transfers")
	b.ReportMetric(float64(s.Bytes), "bytes")
}

// BenchmarkPoll measures one poll with nobody, with known cards, and with new ones.
func BenchmarkPoll(b *testing.B) {
	uids := []string{"04A1B2C3", "1A2B3C4D", "55667788", "A9B8C7D6"}
	for n := range len(uids) + 1 {
		cards := make([]mifaretest.PICC, n)
		b.Run("new-"+string(rune('0'+n)), func(b *testing.B) {
			var took time.Duration
			var s readertest.Stats
			for b.Loop() {
				chip, dev := benchDev(b)
				for i := range cards {
					chip.Put(plainCard(b, uids[i]))
				}
				chip.Sleep(10 * time.Millisecond)
				took, s = meter(chip, func() { _ = dev.Poll() })
			}
			report(b, took, s)
		})
		b.Run("held-"+string(rune('0'+n)), func(b *testing.B) {
			chip, dev := benchDev(b)
			for i := range cards {
				chip.Put(plainCard(b, uids[i]))
			}
			chip.Sleep(10 * time.Millisecond)
			_ = dev.Poll()
			var took time.Duration
			var s readertest.Stats
			b.ReportAllocs()
			for b.Loop() {
				took, s = meter(chip, func() { _ = dev.Poll() })
			}
			report(b, took, s)
		})
	}
}
