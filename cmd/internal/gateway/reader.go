package gateway

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/physic"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/reader"
	"badged/session"
)

// badgeReader turns what one MFRC522 sees into taps and refusals.
type badgeReader struct {
	*gateway
	cfg config.Reader

	// The reader's goroutine has these for itself.
	port    io.Closer         // of the wires that are open
	began   time.Time         // when the driver told that it works
	missing time.Time         // since when they cannot be opened
	mishaps map[string]mishap // faults that were repaired, by what helped

	turned atomic.Int64 // uptime of the loop's last turn

	mu     sync.Mutex
	dev    *reader.Dev      // nil until the wires are open
	err    error            // why they are not
	last   mifare.Admission // the card that counted in the last tap
	shadow shadowCount
}

// retryChip is how long wires that could not be opened are left alone.
const retryChip = time.Second

// run opens the wires to the chip, again and again if it must, and polls. Wires
// that break later are the driver's business: see wires.
func (r *badgeReader) run(ctx context.Context) error {
	defer r.closeWires()
	for ctx.Err() == nil {
		r.turn()
		dev, err := r.open()
		r.note(dev, err)
		if err != nil {
			wait(ctx, retryChip)
			continue
		}
		return dev.Run(ctx, r.handle)
	}
	return nil
}

func (r *badgeReader) turn() { r.turned.Store(int64(uptime())) }

func (r *badgeReader) open() (*reader.Dev, error) {
	w, err := r.wires()
	if err != nil {
		return nil, err
	}
	return reader.New(w.Port, reader.Opts{
		MaxSpeed: physic.Frequency(r.cfg.SpeedMHz * float64(physic.MegaHertz)),
		GainDB:   r.cfg.GainDB, Poll: r.cfg.Poll, Reset: w.Reset, IRQ: w.IRQ, Reopen: r.wires,
		PlusATS: r.cfg.TellsPlus(), Alive: r.turn,
	})
}

// wires opens the wires to the chip; those that were open are closed before.
func (r *badgeReader) wires() (reader.Wires, error) {
	r.closeWires()
	chip, err := r.hw.Chip(r.cfg)
	if err != nil {
		return reader.Wires{}, err
	}
	r.port = chip.Port
	return reader.Wires{Port: chip.Port, Reset: chip.Reset, IRQ: chip.IRQ}, nil
}

func (r *badgeReader) closeWires() {
	if r.port != nil {
		r.port.Close() // one that is broken may complain
		r.port = nil
	}
}

// note remembers the state of the wires. That they cannot be opened is told once;
// that they can is told when the chip at their end works.
func (r *badgeReader) note(dev *reader.Dev, err error) {
	r.mu.Lock()
	r.dev, r.err = dev, err
	r.mu.Unlock()
	if err != nil && r.missing.IsZero() {
		r.missing = time.Now()
		r.lost(err)
	}
}

func (r *badgeReader) lost(err error) {
	r.log.Error("reader lost", "reader", r.cfg.Name, "err", err)
	r.faults.set("reader "+r.cfg.Name, err.Error())
	r.tell(readerFault{Fault: "lost", Error: err.Error()})
	r.up.StatusChanged()
}

func (r *badgeReader) back(down time.Duration) {
	r.log.Info("reader back", "reader", r.cfg.Name, "down", down)
	r.faults.set("reader "+r.cfg.Name, "")
	r.tell(readerFault{Fault: "back", DownMs: down.Milliseconds()})
	r.up.StatusChanged()
}

// readerFault is the body of a Fault in telemetry.
type readerFault struct {
	Reader string `json:"reader"`
	Fault  string `json:"fault"`            // "lost", "back", "recovered", "chip"
	Error  string `json:"error,omitempty"`  // what broke
	Step   string `json:"step,omitempty"`   // what helped
	Times  int    `json:"times,omitempty"`  // as often since the last one told
	DownMs int64  `json:"downMs,omitempty"` // how long it did not read
}

// tell has a fault kept as telemetry and shows it to who watches.
func (r *badgeReader) tell(f readerFault) {
	f.Reader = r.cfg.Name
	r.ctl.Report("Fault", f)
	text := f.Fault
	for _, more := range []string{f.Step, f.Error} {
		if more != "" {
			text += ": " + more
		}
	}
	r.hub.Publish(control.Event{At: time.Now(), Kind: "reader", Reader: r.cfg.Name, Text: text})
}

// handle is called by the reader's own goroutine.
func (r *badgeReader) handle(e reader.Event) {
	switch e := e.(type) {
	case reader.Tap:
		if time.Since(r.began) < r.cfg.Poll/2 {
			r.foundThere(e)
			return
		}
		r.tap(e)
	case reader.Removed:
		r.hub.Publish(control.Event{At: time.Now(), Kind: "removed", Reader: r.cfg.Name, UID: masked(e.Card.UID)})
	case reader.Unreadable:
		r.log.Warn("card unreadable", "reader", r.cfg.Name, "err", e.Err)
		r.tap(reader.Tap{New: []mifare.Card{{}}}) // nothing is known of it: Malformed
	case reader.Started:
		r.begun(e)
	case reader.Lost:
		r.missing = time.Time{}
		r.lost(e.Err)
	case reader.Back:
		r.back(e.Down)
	case reader.Recovered:
		r.recovered(e)
	}
}

// begun tells on which chip the reader works; one that is no MFRC522, or not a
// sound one, is kept in telemetry.
func (r *badgeReader) begun(e reader.Started) {
	r.began = time.Now()
	r.up.StatusChanged()
	if !r.missing.IsZero() {
		r.back(time.Since(r.missing))
		r.missing = time.Time{}
	}
	if e.Genuine && e.SelfTest == "passed" {
		r.log.Info("reader started", "reader", r.cfg.Name, "chip", e.Chip)
		return
	}
	r.log.Warn("reader started", "reader", r.cfg.Name, "chip", e.Chip, "self_test", e.SelfTest)
	r.tell(readerFault{Fault: "chip", Error: e.Chip + ", self test: " + e.SelfTest})
}

// foundThere refuses the cards that lay in the field when the reader began to
// work, which it tells in one poll: nobody has shown them since, and a badge left
// on the reader must not act again after a restart.
func (r *badgeReader) foundThere(t reader.Tap) {
	chosen := r.choose(t)
	r.keep(chosen)
	r.ctl.Refuse(r.cfg.Name, session.IDToken(chosen.Card.UID.String()), session.DeadTime, said(chosen))
}

// mishap counts what was repaired in one way and not told yet.
type mishap struct {
	toldAt time.Time
	times  int
}

// mishapEvery is how often a fault that comes again and again is told.
const mishapEvery = time.Minute

// recovered tells of a fault that was repaired, the first one at once, what comes
// again once a minute with how often it came.
func (r *badgeReader) recovered(e reader.Recovered) {
	if r.mishaps == nil {
		r.mishaps = map[string]mishap{}
	}
	m := r.mishaps[e.Step]
	m.times++
	if time.Since(m.toldAt) >= mishapEvery {
		r.log.Info("reader recovered", "reader", r.cfg.Name, "step", e.Step, "after", e.Err, "times", m.times)
		r.tell(readerFault{Fault: "recovered", Error: e.Err.Error(), Step: e.Step, Times: m.times})
		m = mishap{toldAt: time.Now()}
	}
	r.mishaps[e.Step] = m
}

// status is what the reader says of itself.
func (r *badgeReader) status() control.ReaderStatus {
	r.mu.Lock()
	dev, err := r.dev, r.err
	r.mu.Unlock()
	s := control.ReaderStatus{Name: r.cfg.Name, State: "lost", Shadow: r.shadowStatus()}
	if dev == nil {
		if err != nil {
			s.Error = err.Error()
		}
		return s
	}
	h := dev.Health()
	s.State, s.Chip, s.Health = string(h.State), h.Chip, healthOf(h)
	if h.Err != nil && h.State != reader.StateReady {
		s.Error = h.Err.Error()
	}
	return s
}

// healthOf is h in the words of the status.
func healthOf(h reader.Health) *control.ReaderHealth {
	out := &control.ReaderHealth{
		Version: fmt.Sprintf("0x%02X", h.Version), Genuine: h.Genuine, SelfTest: h.SelfTest,
		SpeedMHz: float64(h.Speed) / float64(physic.MegaHertz), GainDB: h.GainDB, SplitReads: h.SplitReads, Held: h.Held,
		Polls: h.Polls, Taps: h.Taps, Removals: h.Removals, Collisions: h.Collisions, Noise: h.Noise,
		Retries: h.Retries, Unreadable: h.Unreadable, Faults: h.Faults, Recoveries: h.Recoveries,
	}
	if h.Err != nil {
		out.LastFault, out.LastFaultSeconds = h.Err.Error(), int64(h.ErrAge.Seconds())
	}
	return out
}
