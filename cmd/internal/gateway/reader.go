package gateway

import (
	"context"
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

	mu   sync.Mutex
	dev  *reader.Dev      // nil until the wires are open
	err  error            // why they are not
	last mifare.Admission // the card that counted in the last tap
}

// retryChip is how long wires that could not be opened are left alone.
const retryChip = time.Second

// run opens the wires to the chip, again and again if it must, and polls.
func (r *badgeReader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		dev, done, err := r.open()
		r.note(dev, err)
		if err != nil {
			wait(ctx, retryChip)
			continue
		}
		err = dev.Run(ctx, r.handle)
		done()
		if err != nil {
			r.note(nil, err)
			wait(ctx, retryChip)
		}
	}
	return nil
}

func (r *badgeReader) open() (dev *reader.Dev, done func(), err error) {
	chip, err := r.hw.Chip(r.cfg)
	if err != nil {
		return nil, nil, err
	}
	dev, err = reader.New(chip.Port, reader.Opts{
		MaxSpeed: physic.Frequency(r.cfg.SpeedMHz * float64(physic.MegaHertz)),
		GainDB:   r.cfg.GainDB, Poll: r.cfg.Poll, Reset: chip.Reset, IRQ: chip.IRQ, PlusATS: !r.cfg.Cards.Plus,
	})
	if err != nil {
		chip.Port.Close()
		return nil, nil, err
	}
	return dev, func() { chip.Port.Close() }, nil
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
		r.back()
	}
}

func (r *badgeReader) lost(err error) {
	r.log.Error("reader lost", "reader", r.cfg.Name, "err", err)
	r.faults.set("reader "+r.cfg.Name, err.Error())
	r.hub.Publish(control.Event{At: time.Now(), Kind: "reader", Reader: r.cfg.Name, Text: "lost: " + err.Error()})
	r.up.StatusChanged()
}

func (r *badgeReader) back() {
	r.log.Info("reader back", "reader", r.cfg.Name)
	r.faults.set("reader "+r.cfg.Name, "")
	r.hub.Publish(control.Event{At: time.Now(), Kind: "reader", Reader: r.cfg.Name, Text: "back"})
	r.up.StatusChanged()
}

// handle is called by the reader's own goroutine.
func (r *badgeReader) handle(e reader.Event) {
	switch e := e.(type) {
	case reader.Tap:
		r.tap(e)
	case reader.Removed:
		r.hub.Publish(control.Event{At: time.Now(), Kind: "removed", Reader: r.cfg.Name, UID: masked(e.Card.UID)})
	case reader.Lost:
		r.lost(e.Err)
	case reader.Back:
		r.back()
	case reader.Recovered:
		r.log.Info("reader recovered", "reader", r.cfg.Name, "step", e.Step, "after", e.Err)
	}
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
		r.ctl.Tap(r.cfg.Name, token)
		return
	}
	r.ctl.Refuse(r.cfg.Name, token, session.Reason(chosen.Reason))
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
	s.State, s.Health = string(h.State), h
	s.Chip = h.Chip
	if h.Err != nil {
		s.Error = h.Err.Error()
	}
	return s
}
