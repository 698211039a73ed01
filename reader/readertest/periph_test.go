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
	o.RealTime = true
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

func TestPeriphsDriverReadsABlock(t *testing.T) {
	dev, _ := foreign(t, readertest.Opts{}, withUID(t, "9C599B32"))
	data, err := dev.ReadCard(5*time.Second, 0x60, 1, 0, mfrc522.DefaultKey)
	if err != nil || !bytes.Equal(data, make([]byte, 16)) {
		t.Errorf("got % X, %v, want 16 zeros", data, err)
	}
}

// What that driver is known to get wrong shows on this chip as it does in the
// field; a test that fails here means that the emulator flatters it, or that the
// driver got better.
func TestPeriphsDriversKnownFaults(t *testing.T) {
	t.Run("a hundred transfers for a UID", func(t *testing.T) {
		dev, c := foreign(t, readertest.Opts{}, withUID(t, "9C599B32"))
		before := c.Stats().Transfers
		if _, err := dev.ReadUID(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		got := c.Stats().Transfers - before
		t.Logf("%d transfers for a UID", got)
		if got < 100 {
			t.Errorf("got %d transfers, want 100 and more", got)
		}
	})
	t.Run("a triple-size UID comes out as a wrong double-size one", func(t *testing.T) {
		dev, _ := foreign(t, readertest.Opts{}, withUID(t, "0411223344556677AA80"))
		uid, err := dev.ReadUID(5 * time.Second)
		if err != nil || len(uid) != 7 {
			t.Errorf("got % X, %v, want seven bytes without an error", uid, err)
		}
	})
	t.Run("two cards are an error", func(t *testing.T) {
		dev, _ := foreign(t, readertest.Opts{}, withUID(t, "9C599B32"), withUID(t, "13579BDF"))
		if uid, err := dev.ReadUID(5 * time.Second); err == nil {
			t.Errorf("got % X, want an error", uid)
		}
	})
	t.Run("a SELECT that fails still gives the UID", func(t *testing.T) {
		dev, _ := foreign(t, readertest.Opts{}, card(t, "bad-sak-crc"))
		uid, err := dev.ReadUID(5 * time.Second)
		if err != nil || !bytes.Equal(uid, unhex(t, "DEADBEE0")) {
			t.Errorf("got % X, %v, want the UID of a card that was never selected", uid, err)
		}
	})
	t.Run("a dead bus passes the constructor", func(t *testing.T) {
		c := readertest.New(readertest.Opts{RealTime: true})
		c.Inject(readertest.Fault{Kind: readertest.FaultMISO00, For: time.Hour})
		if _, err := mfrc522.NewSPI(c.Port(), c.ResetPin(), c.IRQPin()); err != nil {
			t.Errorf("got %v, want no error", err)
		}
	})
}
