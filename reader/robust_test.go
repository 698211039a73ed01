package reader_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"badged/mifare"
	"badged/reader"
	"badged/reader/readertest"
)

// babble is a bus that answers anything, and the time that passes meanwhile.
type babble struct {
	rnd *rand.Rand
	now time.Duration
}

func (b *babble) String() string { return "babble" }
func (b *babble) Connect(physic.Frequency, spi.Mode, int) (spi.Conn, error) {
	return b, nil
}
func (b *babble) Duplex() conn.Duplex   { return conn.Full }
func (b *babble) Now() time.Duration    { return b.now }
func (b *babble) Sleep(d time.Duration) { b.now += max(d, 0) }
func (b *babble) Tx(w, r []byte) error  { return b.TxPackets([]spi.Packet{{W: w, R: r}}) }
func (b *babble) TxPackets(p []spi.Packet) error {
	b.now += 30 * time.Microsecond
	for _, p := range p {
		for i := range p.R {
			p.R[i] = byte(b.rnd.Uint32())
		}
	}
	return nil
}

func TestBabblingBusIsNeverACard(t *testing.T) {
	for seed := range uint64(20) {
		b := &babble{rnd: rand.New(rand.NewPCG(seed, 0))}
		dev, err := reader.New(b, reader.Opts{Clock: b})
		if err != nil {
			t.Fatal(err)
		}
		for b.now < time.Minute {
			began := b.now
			for _, e := range dev.Cycle() {
				if _, ok := e.(reader.Tap); ok {
					t.Fatalf("got %+v, want no card", e)
				}
			}
			if took := b.now - began; took > time.Second {
				t.Fatalf("got a cycle of %v, want at most 1 s", took)
			}
			b.Sleep(10 * time.Millisecond)
		}
		if h := dev.Health(); h.State != reader.StateLost {
			t.Errorf("got state %s, want lost", h.State)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte{0x60, 0, 0, 2, 0, 0x20}, []byte{0x04, 0x00})
	f.Add([]byte{0x60, 0x08, 0, 5, 0, 0x00}, []byte{1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, st, data []byte) {
		if len(st) != 6 {
			return
		}
		if n, err := reader.Judge([6]byte(st), data); err == nil && n > len(data) {
			t.Errorf("got %d bytes of %d", n, len(data))
		}
	})
}

func TestEveryCycleIsBounded(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	r := newRig(t, readertest.Opts{}, nil)
	r.faulty = true
	for range 8 {
		r.plain(hexUID(randomUID(rnd, 10)))
	}
	var worst time.Duration
	for range 3000 {
		if rnd.IntN(20) == 0 {
			r.inject(randomFault(rnd))
		}
		began := r.chip.Now()
		r.dev.Cycle()
		worst = max(worst, r.chip.Now()-began)
		r.chip.Sleep(5 * time.Millisecond)
	}
	if worst > time.Second {
		t.Errorf("got a cycle of %v, want at most 1 s", worst)
	}
	t.Logf("longest cycle %v", worst)
}

func TestClonesWorkWithAWarning(t *testing.T) {
	for version, c := range map[byte]struct {
		genuine bool
		err     error
	}{
		0x90: {true, nil}, 0x91: {true, nil}, 0x92: {true, nil}, 0x88: {false, nil},
		0xB2: {false, reader.ErrNoReference}, 0x15: {false, reader.ErrNoReference},
	} {
		r := newRig(t, readertest.Opts{Version: version}, nil)
		r.plain("04A1B2C3")
		if err := r.dev.SelfTest(); !errors.Is(err, c.err) {
			t.Errorf("version %02X: got %v from SelfTest, want %v", version, err, c.err)
		}
		r.run(time.Second)
		r.wantTaps("04A1B2C3")
		if h := r.dev.Health(); h.Version != version || h.Genuine != c.genuine || h.Chip == "" {
			t.Errorf("got health %+v, want version %02X, genuine %t", h, version, c.genuine)
		}
	}
}

// fake is a port to a chip whose self test, the only burst of this length, comes
// out wrong.
type fake struct{ spi.Port }

func (f fake) Connect(hz physic.Frequency, m spi.Mode, bits int) (spi.Conn, error) {
	c, err := f.Port.Connect(hz, m, bits)
	return fakeConn{c}, err
}

type fakeConn struct{ spi.Conn }

func (c fakeConn) TxPackets(p []spi.Packet) error {
	err := c.Conn.TxPackets(p)
	for _, p := range p {
		if len(p.R) == 64 {
			p.R[40] ^= 1
		}
	}
	return err
}

func TestSelfTestFindsABadChip(t *testing.T) {
	chip := readertest.New(readertest.Opts{})
	dev, err := reader.New(fake{chip.Port()}, reader.Opts{Clock: chip})
	if err != nil {
		t.Fatal(err)
	}
	var f *reader.Fault
	if err := dev.SelfTest(); !errors.As(err, &f) || f.Kind != reader.FaultChip {
		t.Errorf("got %v, want a fault of the chip", err)
	}
	r := &rig{T: t, chip: chip, dev: dev}
	r.plain("04A1B2C3")
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
}

func TestPinsAreUsed(t *testing.T) {
	chip := readertest.New(readertest.Opts{})
	dev, err := reader.New(chip.Port(), reader.Opts{Clock: chip, Reset: chip.ResetPin(), IRQ: chip.IRQPin()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, chip: chip, dev: dev, faulty: true}
	if err := chip.ResetPin().Out(false); err != nil { // RST low at start
		t.Fatal(err)
	}
	r.card("desfire-ev2")
	r.run(time.Second)
	r.wantTaps("0498290CC1FB80")
	if c := r.scan(); len(c) != 1 || len(c[0].ATS) == 0 || len(c[0].Version) == 0 {
		t.Errorf("got %+v, want a DESFire with ATS and version", c)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]reader.Opts{
		"gain between the steps": {GainDB: 40},
		"SPI beyond the chip":    {MaxSpeed: 20 * physic.MegaHertz},
		"SPI too slow":           {MaxSpeed: physic.KiloHertz},
		"poll too often":         {Poll: time.Millisecond},
		"poll too rarely":        {Poll: time.Minute},
	} {
		if _, err := reader.New(readertest.New(readertest.Opts{}).Port(), o); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
}

func TestGainIsChangedAtRunTime(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	r.plain("04A1B2C3")
	for _, dB := range []int{18, 23, 33, 38, 43, 48} {
		if err := r.dev.SetGain(dB); err != nil {
			t.Fatal(err)
		}
		if got := names(r.scan()); len(got) != 1 || r.dev.Health().GainDB != dB {
			t.Errorf("got %v at %d dB, want one card", got, r.dev.Health().GainDB)
		}
	}
	if err := r.dev.SetGain(40); err == nil {
		t.Error("got nil for 40 dB, want an error")
	}
}

func TestHaltSwitchesTheFieldOff(t *testing.T) {
	r := newRig(t, readertest.Opts{}, nil)
	c := r.plain("04A1B2C3")
	r.run(time.Second)
	if err := r.dev.Halt(); err != nil {
		t.Fatal(err)
	}
	r.chip.Sleep(20 * time.Millisecond)
	if got := c.State(); got != "POWER-OFF" {
		t.Errorf("got card in %s, want POWER-OFF", got)
	}
	r.run(time.Second)
	if got := names(r.scan()); len(got) != 1 {
		t.Errorf("got %v after Halt, want one card", got)
	}
}

// TestTwoReadersInRealTime runs two readers at once, beside doctors and status
// pages, on the machine's clock.
func TestTwoReadersInRealTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, uid := range []string{"04A1B2C3", "04A1B2C3D4E5F6"} {
		chip := readertest.New(readertest.Opts{RealTime: true})
		chip.Put(plainCard(t, uid))
		dev, err := reader.New(chip.Port(), reader.Opts{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, done := context.WithCancel(ctx)
		wg.Go(func() {
			defer done()
			_ = dev.Run(ctx, func(e reader.Event) {
				if tap, ok := e.(reader.Tap); ok && tap.New[0].UID.String() == uid {
					done()
				}
			})
			if dev.Health().Taps != 1 {
				t.Errorf("got health %+v, want one tap of %s", dev.Health(), uid)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				var cards []mifare.Card
				cards, _ = dev.Scan()
				_ = dev.Health()
				_ = cards
			}
		})
	}
	wg.Wait()
}
