package reader_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/devices/v3/mfrc522"

	"badged/reader"
	"badged/reader/readertest"
)

// cost is what one thing costs: on the emulated chip's bus and clock, and in the
// driver's own allocations, which are counted on a tape, without the emulator.
type cost struct {
	transfers, bytes, allocs int
	took                     time.Duration
	err                      error
}

// tape is a bus that records what was read on it, and plays it back.
type tape struct {
	spi.Port
	conn  spi.Conn // nil: play
	reads [][]byte
}

func (t *tape) Connect(f physic.Frequency, m spi.Mode, bits int) (spi.Conn, error) {
	if t.Port == nil {
		return t, nil
	}
	c, err := t.Port.Connect(f, m, bits)
	t.conn = c
	return t, err
}

func (t *tape) String() string       { return "tape" }
func (t *tape) Duplex() conn.Duplex  { return conn.Full }
func (t *tape) Tx(w, r []byte) error { return t.TxPackets([]spi.Packet{{W: w, R: r}}) }
func (t *tape) TxPackets(p []spi.Packet) (err error) {
	if t.conn != nil {
		err = t.conn.TxPackets(p)
	}
	for i := range p {
		switch {
		case len(p[i].R) == 0:
		case t.conn != nil:
			t.reads = append(t.reads, bytes.Clone(p[i].R))
		case len(t.reads) > 0:
			copy(p[i].R, t.reads[0])
			t.reads = t.reads[1:]
		}
	}
	return err
}

// idleClock is the time of a tape.
type idleClock struct{ now time.Duration }

func (c *idleClock) Now() time.Duration    { return c.now }
func (c *idleClock) Sleep(d time.Duration) { c.now += max(d, 0) }

func mallocs(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.Mallocs - before.Mallocs)
}

// ours measures op of our driver on a field with cards, after as many polls.
func ours(t testing.TB, uids []string, polls int, op func(*reader.Dev) error) cost {
	t.Helper()
	chip := readertest.New(readertest.Opts{})
	for _, uid := range uids {
		chip.Put(plainCard(t, uid))
	}
	rec := &tape{Port: chip.Port()}
	prepare := func(p spi.Port, c reader.Clock) *reader.Dev {
		dev, err := reader.New(p, reader.Opts{Clock: c})
		if err == nil {
			err = dev.BringUp()
		}
		for range polls {
			_ = dev.Poll()
		}
		if err != nil {
			t.Fatal(err)
		}
		return dev
	}
	dev := prepare(rec, chip)
	var out cost
	took, s := meter(chip, func() { out.err = op(dev) })
	out.transfers, out.bytes, out.took = s.Transfers, s.Bytes, took
	again := prepare(&tape{reads: rec.reads}, &idleClock{})
	out.allocs = mallocs(func() { _ = op(again) })
	return out
}

// theirs measures a read with periph's driver, unchanged: all of it, and without
// the two initialisations that every read of it begins with.
func theirs(t testing.TB, uids []string) (whole, bare cost) {
	t.Helper()
	chip := readertest.New(readertest.Opts{})
	for _, uid := range uids {
		chip.Put(plainCard(t, uid))
	}
	rec := &tape{Port: chip.Port()}
	prepare := func(p spi.Port) *mfrc522.Dev {
		dev, err := mfrc522.NewSPI(p, chip.ResetPin(), promptIRQ{chip.IRQPin()})
		if err != nil {
			t.Fatal(err)
		}
		return dev
	}
	dev := prepare(rec)
	chip.Sleep(10 * time.Millisecond)
	var uid []byte
	took, s := meter(chip, func() { uid, whole.err = dev.ReadUID(time.Second) })
	if got := hexUID(uid); whole.err == nil && (len(uids) > 1 || got != uids[0]) {
		whole.err = fmt.Errorf("wrong UID %s", got)
	}
	whole.transfers, whole.bytes, whole.took = s.Transfers, s.Bytes, took
	again := prepare(&tape{reads: slices.Clone(rec.reads)})
	whole.allocs = mallocs(func() { _, _ = again.ReadUID(time.Second) })
	var initAllocs int
	took, s = meter(chip, func() { initAllocs = mallocs(func() { _ = dev.LowLevel.Init() }) })
	bare = cost{whole.transfers - 2*s.Transfers, whole.bytes - 2*s.Bytes, whole.allocs - 2*initAllocs, whole.took - 2*took, whole.err}
	return whole, bare
}

// figure is a row of the table: what is done, what ours costs, and what periph's
// costs where it can do it.
type figure struct {
	what  string
	ours  cost
	peer  cost
	floor time.Duration // of the air
}

var cardsOfFigures = []string{"04A1B2C3", "1A2B3C4D", "55667788", "A9B8C7D6"}

func figures(t testing.TB) (out []figure) {
	readFirst := func(d *reader.Dev) error { _, _, err := d.ReadFirst(); return err }
	poll := (*reader.Dev).Poll
	for i, uid := range []string{"04A1B2C3", "04A1B2C3D4E5F6", "04A1B2C3D4E5F6071829"} {
		one := []string{uid}
		f := figure{what: fmt.Sprintf("UID of %d bytes", 4+3*i), ours: ours(t, one, 0, readFirst), floor: floors[uid]}
		whole := f
		whole.what += ", with initialisation"
		whole.peer, f.peer = theirs(t, one)
		out = append(out, f, whole)
	}
	for n := range len(cardsOfFigures) + 1 {
		uids := cardsOfFigures[:n]
		f := figure{what: fmt.Sprintf("poll that meets %d new, to the decision", n), ours: ours(t, uids, 0, poll)}
		if n == 0 {
			f.what = "idle poll"
		}
		if n > 1 {
			_, f.peer = theirs(t, uids)
		}
		out = append(out, f)
	}
	for n := 1; n <= len(cardsOfFigures); n++ {
		out = append(out, figure{what: fmt.Sprintf("poll that greets %d held", n), ours: ours(t, cardsOfFigures[:n], 1, poll)})
	}
	return out
}

func (f figure) String() string {
	us := func(d time.Duration) string { return fmt.Sprint(d.Microseconds()) }
	floor := ""
	if f.floor > 0 {
		floor = fmt.Sprintf("%.2f", float64(f.ours.took)/float64(f.floor))
	}
	row := fmt.Sprintf("%s\t%d\t%d\t%d\t%s\t%s\t", f.what, f.ours.transfers, f.ours.bytes, f.ours.allocs, us(f.ours.took), floor)
	switch {
	case f.peer.err != nil:
		return row + "cannot: " + f.peer.err.Error()
	case f.peer.transfers == 0:
		return row + "-"
	}
	return row + fmt.Sprintf("%d\t%d\t%d\t%s\t%.1f\t%.1f", f.peer.transfers, f.peer.bytes, f.peer.allocs, us(f.peer.took),
		float64(f.peer.transfers)/float64(f.ours.transfers), float64(f.peer.took)/float64(f.ours.took))
}

func table(rows []figure) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ttransfers\tbytes\tallocs\tvirtual µs\t× air\tperiph: transfers\tbytes\tallocs\tvirtual µs\t× transfers\t× time")
	for _, f := range rows {
		fmt.Fprintln(w, f)
	}
	w.Flush()
	return b.String()
}

// BenchmarkFigures prints our driver and periph's side by side: SPI at 4 MHz (10
// for periph's, which asks for it), 30 µs a transfer, on the chip's virtual clock.
func BenchmarkFigures(b *testing.B) {
	var rows []figure
	for b.Loop() {
		rows = figures(b)
	}
	fmt.Print("\n", table(rows), "\n") // b.Log shows ten lines
}

// The targets: at most half as much again as the air takes, at most 9 transfers a
// UID, at most 2 and no allocation when nobody is there, and never more than the
// peer needs.
func TestFiguresHold(t *testing.T) {
	for _, f := range figures(t) {
		if f.ours.err != nil {
			t.Errorf("%s: got %v, want nil", f.what, f.ours.err)
		}
		if f.floor > 0 && f.ours.took > f.floor*3/2 {
			t.Errorf("%s: got %v, want at most 1.5 × %v", f.what, f.ours.took, f.floor)
		}
		if f.what == "idle poll" && (f.ours.transfers > 2 || f.ours.allocs > 0) {
			t.Errorf("%s: got %d transfers and %d allocations, want 2 and 0", f.what, f.ours.transfers, f.ours.allocs)
		}
		if f.what == "UID of 4 bytes" && f.ours.transfers > 9 {
			t.Errorf("%s: got %d transfers, want at most 9", f.what, f.ours.transfers)
		}
		if p := f.peer; p.transfers > 0 && p.err == nil && (p.transfers < 10*f.ours.transfers || p.took < f.ours.took) {
			t.Errorf("%s: got %+v against %+v of periph's, want a tenth of the transfers, and less time", f.what, f.ours, p)
		}
	}
}
