package reader_test

import (
	"testing"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"badged/reader"
	"badged/reader/readertest"
)

// longWires are a port whose answers come too late for a clock above limit.
type longWires struct {
	spi.PortCloser
	spi.Conn
	limit, speed physic.Frequency
}

func (w *longWires) String() string { return "long wires" }

func (w *longWires) Connect(f physic.Frequency, m spi.Mode, bits int) (spi.Conn, error) {
	c, err := w.PortCloser.Connect(f, m, bits)
	w.Conn, w.speed = c, f
	return w, err
}

func (w *longWires) LimitSpeed(f physic.Frequency) error {
	w.speed = f
	return w.PortCloser.LimitSpeed(f)
}

func (w *longWires) TxPackets(p []spi.Packet) error {
	err := w.Conn.TxPackets(p)
	for _, p := range p {
		for i := range p.R {
			if w.speed > w.limit {
				p.R[i] >>= 1
			}
		}
	}
	return err
}

func TestLongWiresAreClockedMoreSlowly(t *testing.T) {
	for limit, want := range map[physic.Frequency]physic.Frequency{
		10 * physic.MegaHertz: 10 * physic.MegaHertz, 5 * physic.MegaHertz: 4 * physic.MegaHertz, 2 * physic.MegaHertz: physic.MegaHertz,
	} {
		chip := readertest.New(readertest.Opts{})
		dev, err := reader.New(&longWires{PortCloser: chip.Port(), limit: limit}, reader.Opts{Clock: chip, MaxSpeed: 10 * physic.MegaHertz})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{T: t, chip: chip, dev: dev}
		r.plain("04A1B2C3")
		r.run(time.Second)
		r.wantTaps("04A1B2C3")
		if got := dev.Health().Speed; got != want {
			t.Errorf("wires for %v: got %v, want %v", limit, got, want)
		}
	}
}
