package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/session"
)

// enrolTimeout is how long a badge to be registered is waited for.
const enrolTimeout = time.Minute

var errNoBadge = errors.New("no badge came to a reader within a minute")

// enrolment lends the next tap to whoever asked for it. The zero value is ready;
// it is safe for concurrent use.
type enrolment struct {
	mu      sync.Mutex
	waiting chan control.Enrolment // nil while nobody waits
}

// enrol waits for the next card at any reader and says what it is, admissible or
// not and why; it is not authorised. One at a time: a second caller gets an error.
func (g *gateway) enrol(ctx context.Context) (control.Enrolment, error) {
	e, err := g.desk.next(ctx, func() {
		g.hub.Publish(control.Event{At: time.Now(), Kind: "enrol", Text: "the next badge is read, not authorised"})
	})
	if err != nil {
		return e, fmt.Errorf("enrol: %w", err)
	}
	g.log.Info("badge enrolled", "reader", e.Reader, "uid", session.IDToken(e.UID).Masked(), "type", e.Type, "reason", e.Reason)
	return e, nil
}

// next calls waits when a tap would be taken.
func (d *enrolment) next(ctx context.Context, waits func()) (control.Enrolment, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, enrolTimeout, errNoBadge)
	defer cancel()
	tapped := make(chan control.Enrolment, 1)
	if !d.begin(tapped) {
		return control.Enrolment{}, errors.New("somebody waits for a badge already: try again when it has come, or in a minute")
	}
	waits()
	select {
	case e := <-tapped:
		return e, nil
	case <-ctx.Done():
	}
	d.end()
	select {
	case e := <-tapped: // it came in the last moment
		return e, nil
	default:
		return control.Enrolment{}, context.Cause(ctx)
	}
}

func (d *enrolment) begin(tapped chan control.Enrolment) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting != nil {
		return false
	}
	d.waiting = tapped
	return true
}

func (d *enrolment) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = nil
}

// take gives e to whoever waits, and tells whether somebody did.
func (d *enrolment) take(e control.Enrolment) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		return false
	}
	d.waiting <- e
	d.waiting = nil
	return true
}

// enrolled tells whether the card was waited for: then nothing else happens to it.
func (r *badgeReader) enrolled(a mifare.Admission) bool {
	taken := r.desk.take(control.Enrolment{
		At: time.Now(), Reader: r.cfg.Name, UID: a.Card.UID.String(),
		Type: string(a.Type), Confidence: string(a.Confidence), Name: a.Name,
		Verdict: string(a.Verdict), Reason: string(a.Reason), Notes: append([]string{}, notes(a)...),
	})
	if taken {
		r.hub.Publish(r.cardEvent("enrolled", a))
		r.panel.Show(session.Signal{Name: session.SignalEnrolled, Reader: r.cfg.Name})
	}
	return taken
}
