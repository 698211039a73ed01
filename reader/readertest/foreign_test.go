package readertest_test

import (
	"bytes"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader/readertest"

	"periph.io/x/devices/v3/mfrc522"
)

// distant is periph's driver, as it is, on the far side of a socket from a chip
// in real time with everything as a chip has it from New.
func distant(t *testing.T, cards ...mifaretest.PICC) *mfrc522.Dev {
	t.Helper()
	c := readertest.New(readertest.Opts{RealTime: true})
	for _, p := range cards {
		c.Put(p)
	}
	network, addr := serve(t, c)
	r := dial(t, network, addr)
	dev, err := mfrc522.NewSPI(r, r.ResetPin(), r.IRQPin())
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func TestPeriphsDriverReadsUIDsOverTheSocket(t *testing.T) {
	dev := distant(t, withUID(t, "9C599B32"))
	for i := range 5 { // every read begins with a reset of the chip
		uid, err := dev.ReadUID(10 * time.Second)
		if err != nil || !bytes.Equal(uid, unhex(t, "9C599B32")) {
			t.Errorf("read %d: got % X, %v, want 9C 59 9B 32", i, uid, err)
		}
	}
}

func TestPeriphsDriverReadsAndWritesABlockOverTheSocket(t *testing.T) {
	dev := distant(t, withUID(t, "9C599B32"))
	want := [16]byte([]byte("a laundry badge!"))
	if err := dev.WriteCard(10*time.Second, 0x60, 1, 0, want, mfrc522.DefaultKey); err != nil {
		t.Fatalf("got %v from WriteCard, want nil", err)
	}
	data, err := dev.ReadCard(10*time.Second, 0x60, 1, 0, mfrc522.DefaultKey)
	if err != nil || !bytes.Equal(data, want[:]) {
		t.Errorf("got %q, %v, want %q", data, err, want)
	}
}

func TestPeriphsDriverWaitsForACardOverTheSocket(t *testing.T) {
	dev := distant(t)
	if uid, err := dev.ReadUID(300 * time.Millisecond); err == nil {
		t.Errorf("got % X from an empty field, want an error", uid)
	}
}
