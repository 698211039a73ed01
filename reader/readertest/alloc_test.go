package readertest_test

import (
	"testing"

	"badged/reader/readertest"

	"periph.io/x/conn/v3/spi"
)

// The drivers' benchmarks count allocations with this chip under them.
func TestAnEmptyFieldCostsNoAllocation(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.setUp()
	frame := []spi.Packet{
		{W: []byte{0x02, 0x00}}, {W: []byte{0x08, 0x7F}}, {W: []byte{0x14, 0x80}},
		{W: []byte{0x12, 0x26}}, {W: []byte{0x02, 0x0C}}, {W: []byte{0x1A, 0x87}},
	}
	status := []byte{0x88, 0x8C, 0x94, 0x98, 0x9C, 0x00}
	status2 := make([]byte, len(status))
	poll := func() {
		if err := b.conn.TxPackets(frame); err != nil {
			t.Fatal(err)
		}
		b.Sleep(1_000_000)
		if err := b.conn.Tx(status, status2); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(100, poll); got != 0 {
		t.Errorf("got %v allocations in a poll, want 0", got)
	}
}
