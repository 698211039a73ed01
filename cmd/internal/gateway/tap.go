package gateway

import (
	"time"

	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/reader"
	"badged/session"
)

// tap decides which card of those in the field counts, and passes it on: the
// one admissible badge, or why there is none.
//
// What a probe for clones finds out belongs into a card's Notes, where judge
// reports it; a proof by a sector key comes between choose and the controller,
// and turns an admission without one into a refusal.
func (r *badgeReader) tap(t reader.Tap) {
	r.tapped.Store(int64(uptime()))
	chosen := r.choose(t)
	defer r.remember(t)
	if r.enrolled(chosen) {
		return
	}
	r.keep(chosen)
	token := session.IDToken(chosen.Card.UID.String())
	if chosen.Verdict == mifare.Accept {
		r.ctl.Tap(r.cfg.Name, token, said(chosen))
		return
	}
	r.ctl.Refuse(r.cfg.Name, token, session.Reason(chosen.Reason), said(chosen))
}

// choose judges the cards that came. A badge that comes while another one is
// still held there is refused, rather than billing whichever counted first.
func (r *badgeReader) choose(t reader.Tap) mifare.Admission {
	var came []mifare.Admission
	for _, c := range t.New {
		a := r.judge(c)
		came = append(came, a)
		r.hub.Publish(r.cardEvent("card", a))
	}
	chosen := mifare.Choose(came)
	for _, c := range t.Held {
		if chosen.Verdict == mifare.Accept && r.cfg.Cards.Admit(c).Verdict == mifare.Accept {
			return mifare.Choose([]mifare.Admission{chosen, r.cfg.Cards.Admit(c)})
		}
	}
	return chosen
}

// judge is the policy's word on a card, and what the gateway remembers of it.
func (r *badgeReader) judge(c mifare.Card) mifare.Admission {
	a := r.cfg.Cards.Admit(c)
	if r.visits.changed(a) {
		a.Notes = append(a.Notes, mifare.NoteTypeChanged)
	}
	return a
}

// remember notes the kinds of the cards that came, once they are decided upon:
// no tap waits for a file.
func (r *badgeReader) remember(t reader.Tap) {
	for _, c := range t.New {
		if err := r.visits.remember(r.cfg.Cards.Admit(c)); err != nil {
			r.log.Warn("kind of card not kept", "reader", r.cfg.Name, "err", err)
		}
	}
}

// keep notes the card that counts, and counts what the policy that is tried out
// would have said to it.
func (r *badgeReader) keep(a mifare.Admission) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = a
	r.shadow.count(a, r.shadowReason(a))
}

// shadowReason is why the policy that is tried out would refuse what the one in
// force admits.
func (r *badgeReader) shadowReason(a mifare.Admission) mifare.Reason {
	if a.Verdict != mifare.Accept {
		return mifare.Admissible
	}
	return r.cfg.Shadow.Admit(a.Card).Reason
}

// shadowCount counts what a policy that is tried out would have refused.
type shadowCount struct {
	admitted uint64
	refused  map[string]uint64
}

func (s *shadowCount) count(a mifare.Admission, shadow mifare.Reason) {
	if a.Verdict != mifare.Accept {
		return
	}
	s.admitted++
	if shadow != mifare.Admissible {
		if s.refused == nil {
			s.refused = make(map[string]uint64)
		}
		s.refused[string(shadow)]++
	}
}

// shadowStatus is nil where nothing is tried out.
func (r *badgeReader) shadowStatus() *control.ShadowStatus {
	if r.cfg.Shadow == r.cfg.Cards {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &control.ShadowStatus{Admitted: r.shadow.admitted, Refused: make(map[string]uint64)}
	for reason, n := range r.shadow.refused {
		s.Refused[reason] = n
	}
	return s
}

// decision is the event of what was decided about the last tap at the reader.
func (r *badgeReader) decision(d session.Decision) control.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.Card.UID.String() == string(d.UID) {
		return r.cardEvent("decision", r.last)
	}
	return control.Event{
		At: time.Now(), Kind: "decision", Reader: d.Reader, UID: d.UID.Masked(), Type: d.Card.Type, Notes: d.Card.Notes,
	}
}

func (r *badgeReader) cardEvent(kind string, a mifare.Admission) control.Event {
	return control.Event{
		At: time.Now(), Kind: kind, Reader: r.cfg.Name, UID: masked(a.Card.UID),
		Type: string(a.Type), Confidence: string(a.Confidence), Name: a.Name,
		Verdict: string(a.Verdict), Reason: string(a.Reason), Shadow: string(r.shadowReason(a)), Notes: notes(a),
	}
}

// said is what the session's telemetry tells of a card.
func said(a mifare.Admission) session.Card {
	return session.Card{Type: string(a.Type), Notes: notes(a)}
}

func notes(a mifare.Admission) (out []string) {
	for _, n := range a.Notes {
		out = append(out, string(n))
	}
	return out
}

func masked(u mifare.UID) string { return session.IDToken(u.String()).Masked() }
