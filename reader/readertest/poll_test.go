package readertest_test

import (
	"testing"
	"time"

	"badged/reader/readertest"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// poller returns one poll of an empty field as a good driver does it: a frame in
// one transfer, a wait, a status burst.
func poller(t testing.TB, c *readertest.Chip) func() {
	conn, err := c.Port().Connect(4*physic.MegaHertz, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	frame := []spi.Packet{
		{W: []byte{0x02, 0x00}}, {W: []byte{0x08, 0x7F}}, {W: []byte{0x14, 0x80}},
		{W: []byte{0x12, 0x26}}, {W: []byte{0x02, 0x0C}}, {W: []byte{0x1A, 0x87}},
	}
	status, in := []byte{0x88, 0x8C, 0x94, 0x98, 0x9C, 0x00}, make([]byte, 6)
	return func() {
		if err := conn.TxPackets(frame); err != nil {
			t.Fatal(err)
		}
		c.Sleep(time.Millisecond)
		if err := conn.Tx(status, in); err != nil {
			t.Fatal(err)
		}
	}
}

// The drivers' benchmarks count allocations with this chip under them.
func TestAnEmptyFieldCostsNoAllocation(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.setUp()
	if got := testing.AllocsPerRun(100, poller(t, b.Chip)); got != 0 {
		t.Errorf("got %v allocations in a poll, want 0", got)
	}
}

// A virtual day is two million polls.
func BenchmarkPoll(b *testing.B) {
	poll := poller(b, readertest.New(readertest.Opts{}))
	for b.Loop() {
		poll()
	}
}
