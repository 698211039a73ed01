package reader_test

import (
	"errors"
	"testing"
	"time"

	"badged/reader"
	"badged/reader/readertest"
)

// wires opens a chip's wires again and again, or says why not.
type wires struct {
	chip  *readertest.Chip
	last  interface{ Close() error }
	opens int
	gone  bool // nothing is there to be opened
}

func (w *wires) open() (reader.Wires, error) {
	w.opens++
	if w.last != nil {
		w.last.Close()
	}
	if w.gone {
		return reader.Wires{}, errors.New("no such device")
	}
	p := w.chip.Port()
	w.last = p
	return reader.Wires{Port: p, Reset: w.chip.ResetPin()}, nil
}

func rewired(t *testing.T) (*rig, *wires) {
	t.Helper()
	w := &wires{chip: readertest.New(readertest.Opts{})}
	first, _ := w.open()
	dev, err := reader.New(first.Port, reader.Opts{Clock: w.chip, Reset: first.Reset, Reopen: w.open})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{T: t, chip: w.chip, dev: dev, faulty: true}, w
}

// The device goes away for a minute, as an SPI driver does that is loaded anew: a
// badge that lies on the reader all the time neither taps again nor is removed.
func TestWiresAreOpenedAnew(t *testing.T) {
	r, w := rewired(t)
	r.plain("04A1B2C3")
	r.run(time.Second)
	w.gone = true
	w.last.Close()
	r.run(time.Minute)
	if h := r.dev.Health(); h.State != reader.StateLost || h.Recoveries["reopen"] == 0 || w.opens > 200 {
		t.Errorf("got %d attempts and health %+v, want lost with reopen counted, twice a second at most", w.opens, h)
	}
	w.gone = false
	there := r.chip.Now()
	r.run(2 * time.Second)
	if at := when[reader.Back](r, there); at < 0 || at > there+time.Second {
		t.Errorf("got Back at %v, want within 1 s of %v", at, there)
	}
	r.wantTaps("04A1B2C3")
	r.wantRemoved()
}

// A bus that answers nothing is opened anew too, but rarely.
func TestSilentBusIsOpenedAnewNowAndThen(t *testing.T) {
	r, w := rewired(t)
	r.run(time.Second)
	r.inject(readertest.Fault{Kind: readertest.FaultMISO00, Count: 1 << 30})
	r.run(time.Minute)
	if w.opens < 8 || w.opens > 16 {
		t.Errorf("got %d opens in a minute, want one in five seconds", w.opens)
	}
	r.chip.Clear()
	r.plain("04A1B2C3")
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
}

func TestTellsWhatChipItStartedOn(t *testing.T) {
	for version, want := range map[byte]reader.Started{
		0x92: {Chip: "MFRC522 v2.0", Genuine: true, SelfTest: "passed"},
		0x88: {Chip: "FM17522 (clone)", SelfTest: "passed"},
		0xB2: {Chip: "FM17522 variant (clone)", SelfTest: "no reference"},
	} {
		r := newRig(t, readertest.Opts{Version: version}, nil)
		r.run(10 * time.Second)
		if len(r.told) != 1 || r.told[0].event != want || r.told[0].at > 100*time.Millisecond {
			t.Errorf("got %+v, want %+v at once, and once", r.told, want)
		}
	}
}

// A chip with a false name fails its self test, and reads.
func TestFailedSelfTestOnlyWarns(t *testing.T) {
	chip := readertest.New(readertest.Opts{})
	dev, err := reader.New(fake{chip.Port()}, reader.Opts{Clock: chip})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, chip: chip, dev: dev}
	r.plain("04A1B2C3")
	r.run(time.Second)
	r.wantTaps("04A1B2C3")
	want := reader.Started{Chip: "MFRC522 v2.0", Genuine: true, SelfTest: "failed"}
	if r.told[0].event != want || r.dev.Health().SelfTest != "failed" {
		t.Errorf("got %+v, want %+v", r.told[0].event, want)
	}
}

// The slowest cards that the standard allows: 5 ms to start up, 5 ms of memory.
func TestSlowestCardsAreRead(t *testing.T) {
	slow := readertest.Opts{StartUp: 4900 * time.Microsecond, Hold: 4900 * time.Microsecond}
	r := newRig(t, slow, nil)
	c := r.plain("04A1B2C3D4E5F6")
	d := r.card("desfire-ev2")
	r.run(3 * time.Second)
	r.wantTaps("04A1B2C3D4E5F6", "0498290CC1FB80")
	if got := names(r.scan()); len(got) != 2 {
		t.Errorf("got %v from Scan, want both cards", got)
	}
	r.chip.Remove(c)
	r.chip.Remove(d)
	r.run(time.Second)
	r.wantRemoved("04A1B2C3D4E5F6", "0498290CC1FB80")
}
