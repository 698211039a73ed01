package reader_test

import (
	"errors"
	"flag"
	"testing"

	"periph.io/x/host/v3/sysfs"

	"badged/reader"
)

var (
	spiBus  = flag.Int("spi-bus", -1, "run TestHardware on /dev/spidevB.C; lay one card on the reader")
	spiChip = flag.Int("spi-cs", 0, "the chip select C")
)

// TestHardware reads a real card with a real chip, ten times.
func TestHardware(t *testing.T) {
	if *spiBus < 0 {
		t.Skip("no -spi-bus")
	}
	port, err := sysfs.NewSPI(*spiBus, *spiChip)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	dev, err := reader.New(port, reader.Opts{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.SelfTest(); err != nil && !errors.Is(err, reader.ErrNoReference) {
		t.Error(err)
	}
	for range 10 {
		cards, err := dev.Scan()
		if err != nil || len(cards) != 1 {
			t.Errorf("got %v, %v, want one card", cards, err)
		}
	}
	t.Logf("%+v", dev.Health())
}
