package readertest_test

import (
	"bytes"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader/readertest"

	"periph.io/x/devices/v3/mfrc522"
)

// foreign is periph's driver, as it is, on a chip in real time: it sleeps and
// waits for edges by the machine's clock.
func foreign(t *testing.T, o readertest.Opts, cards ...mifaretest.PICC) (*mfrc522.Dev, *readertest.Chip) {
	t.Helper()
	// It resets the chip between the REQA that met the card and its next one, and
	// leaves no more than half a millisecond for the card to forget and start.
	o.RealTime, o.Hold, o.StartUp = true, 50*time.Microsecond, 200*time.Microsecond
	c := readertest.New(o)
	for _, p := range cards {
		c.Put(p)
	}
	dev, err := mfrc522.NewSPI(c.Port(), c.ResetPin(), c.IRQPin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Halt(); err != nil {
			t.Errorf("Halt: %v", err)
		}
	})
	return dev, c
}

func TestPeriphsDriverReadsAUID(t *testing.T) {
	dev, _ := foreign(t, readertest.Opts{}, withUID(t, "9C599B32"))
	uid, err := dev.ReadUID(5 * time.Second)
	if err != nil || !bytes.Equal(uid, unhex(t, "9C599B32")) {
		t.Errorf("got % X, %v, want 9C 59 9B 32", uid, err)
	}
}
