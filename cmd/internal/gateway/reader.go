package gateway

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"

	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/reader"
	"badged/session"
)

// badgeReader turns what one MFRC522 sees into taps and refusals.
type badgeReader struct {
	*gateway
	cfg Reader

	port     io.Closer // of the wires that are open; run's own
	mishap   string    // the last Recovered that was told; run's own
	mishapAt time.Time
	mishaps  int // not told since

	mu   sync.Mutex
	dev  *reader.Dev      // nil until the wires are open
	err  error            // why they are not
	last mifare.Admission // the card that counted in the last tap
}

// retryChip is how long wires that could not be opened are left alone.
const retryChip = time.Second

// run opens the wires to the chip, again and again if it must, and polls. Wires
// that break later are the driver's business: see wires.
func (r *badgeReader) run(ctx context.Context) error {
	defer r.closeWires()
	for ctx.Err() == nil {
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

func (r *badgeReader) open() (*reader.Dev, error) {
	w, err := r.wires()
	if err != nil {
		return nil, err
	}
	return reader.New(w.Port, reader.Opts{
		MaxSpeed: physic.Frequency(r.cfg.SpeedMHz * float64(physic.MegaHertz)),
		GainDB:   r.cfg.GainDB, Poll: r.cfg.Poll, Reset: w.Reset, IRQ: w.IRQ, Reopen: r.wires, PlusATS: !r.cfg.Cards.Plus,
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

// note remembers the state of the wires and tells of a change, once.
func (r *badgeReader) note(dev *reader.Dev, err error) {
	r.mu.Lock()
	changed := (err == nil) != (r.err == nil)
	r.dev, r.err = dev, err
	r.mu.Unlock()
	switch {
	case err != nil && changed:
		r.lost(err)
	case err == nil && changed:
		r.back(0)
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
		r.tap(e)
	case reader.Removed:
		r.hub.Publish(control.Event{At: time.Now(), Kind: "removed", Reader: r.cfg.Name, UID: masked(e.Card.UID)})
	case reader.Unreadable:
		r.log.Warn("card unreadable", "reader", r.cfg.Name, "err", e.Err)
		r.tap(reader.Tap{New: []mifare.Card{{}}}) // nothing is known of it: Malformed
	case reader.Started:
		r.begun(e)
	case reader.Lost:
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
	if e.Genuine && e.SelfTest == "passed" {
		r.log.Info("reader started", "reader", r.cfg.Name, "chip", e.Chip)
		return
	}
	r.log.Warn("reader started", "reader", r.cfg.Name, "chip", e.Chip, "self_test", e.SelfTest)
	r.tell(readerFault{Fault: "chip", Error: e.Chip + ", self test: " + e.SelfTest})
}

// mishapEvery is how often a fault that comes again and again is told.
const mishapEvery = time.Minute

// recovered tells of a fault that was repaired: at once where it is another than
// the last, else once a minute with how often it came.
func (r *badgeReader) recovered(e reader.Recovered) {
	r.mishaps++
	if e.Step == r.mishap && time.Since(r.mishapAt) < mishapEvery {
		return
	}
	r.log.Info("reader recovered", "reader", r.cfg.Name, "step", e.Step, "after", e.Err, "times", r.mishaps)
	r.tell(readerFault{Fault: "recovered", Error: e.Err.Error(), Step: e.Step, Times: r.mishaps})
	r.mishap, r.mishapAt, r.mishaps = e.Step, time.Now(), 0
}

// tap decides which card of those in the field counts, and passes it on: the
// one admissible badge, or why there is none.
func (r *badgeReader) tap(t reader.Tap) {
	chosen := r.choose(t)
	r.mu.Lock()
	r.last = chosen
	r.mu.Unlock()
	token := session.IDToken(chosen.Card.UID.String())
	if chosen.Verdict == mifare.Accept {
		r.ctl.Tap(r.cfg.Name, token, session.Card{})
		return
	}
	r.ctl.Refuse(r.cfg.Name, token, session.Reason(chosen.Reason), session.Card{})
}

// choose judges the cards that came. A badge that comes while another one is
// still held there is refused, rather than billing whichever counted first.
func (r *badgeReader) choose(t reader.Tap) mifare.Admission {
	var came []mifare.Admission
	for _, c := range t.New {
		a := r.cfg.Cards.Admit(c)
		came = append(came, a)
		r.hub.Publish(cardEvent("card", r.cfg.Name, a))
	}
	chosen := mifare.Choose(came)
	for _, c := range t.Held {
		if chosen.Verdict == mifare.Accept && r.cfg.Cards.Admit(c).Verdict == mifare.Accept {
			return mifare.Choose([]mifare.Admission{chosen, r.cfg.Cards.Admit(c)})
		}
	}
	return chosen
}

// decision is the event of what was decided about the last tap at the reader.
func (r *badgeReader) decision(d session.Decision) control.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.Card.UID.String() != string(d.UID) {
		return control.Event{At: time.Now(), Kind: "decision", Reader: d.Reader, UID: d.UID.Masked()}
	}
	return cardEvent("decision", r.cfg.Name, r.last)
}

func cardEvent(kind, reader string, a mifare.Admission) control.Event {
	e := control.Event{
		At: time.Now(), Kind: kind, Reader: reader, UID: masked(a.Card.UID),
		Type: string(a.Type), Verdict: string(a.Verdict), Reason: string(a.Reason),
	}
	for _, n := range a.Notes {
		e.Notes = append(e.Notes, string(n))
	}
	return e
}

func masked(u mifare.UID) string { return session.IDToken(u.String()).Masked() }

// status is what the reader says of itself.
func (r *badgeReader) status() control.ReaderStatus {
	r.mu.Lock()
	dev, err := r.dev, r.err
	r.mu.Unlock()
	s := control.ReaderStatus{Name: r.cfg.Name, State: "lost"}
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
