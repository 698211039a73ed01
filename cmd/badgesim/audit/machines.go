package audit

import (
	"slices"
	"time"
)

// of are the sessions of a station, in order.
func (a *audit) of(st Station) []*session {
	var out []*session
	for _, s := range a.sessions {
		if s.of.ID == st.ID {
			out = append(out, s)
		}
	}
	return out
}

// relays holds the world's relays against the sessions, both ways.
func (a *audit) relays() {
	for _, st := range a.site.Stations {
		sessions := a.of(st)
		for i, on := range a.log.on[st.ID] {
			a.figures.Closings++
			if !slices.ContainsFunc(sessions, func(s *session) bool { return s.span.has(on.from) || a.releases(st, s, on.from) }) {
				a.find("relay", "%s closed at %d, without a session", st.ID, on.from)
			}
			if on.to == forever {
				a.find("relay", "%s was left on, closed at %d", st.ID, on.from)
			}
			if st.Charging {
				a.opensAfter(st, sessions, i)
			}
		}
		for _, s := range sessions {
			// After a power cut charging waits with its relay off, and may end so.
			powered := slices.ContainsFunc(a.log.on[st.ID], s.span.meets)
			if !powered && !s.marked("PowerLoss") {
				a.find("relay", "%v passed with its relay off", s)
			}
		}
	}
}

// drives is how long a decision to close a relay may be on its way to it.
const drives = 200 * time.Millisecond

// releases tells whether a relay that closes then is one that fell in door
// release, while the daemon was away.
func (a *audit) releases(st Station, s *session, at moment) bool {
	return !st.Charging && s.to <= at && at <= s.to.plus(st.Release+drives) &&
		slices.ContainsFunc(a.log.cuts, func(c span) bool { return s.to <= c.from && c.from <= at })
}

// opensAfter wants the wallbox off after a session, before the next one.
func (a *audit) opensAfter(st Station, sessions []*session, i int) {
	on, over := a.log.on[st.ID][i], 0
	for _, s := range sessions {
		if s.span.meets(on) {
			over++
		}
	}
	if over > 1 {
		a.find("relay", "%s stayed on from %d through %d sessions", st.ID, on.from, over)
	}
}

// Allowances of the energy's sums, as documented.
const (
	checkpoint = 65 * time.Second // between two checkpoints while energy flows, and a sample
	poll       = 4 * time.Second  // between two readings of a register, and a slow one
	late       = 2 * time.Second  // from what is drawn to its pulse, and to its count
)

// energy holds what was billed against what the meters counted.
func (a *audit) energy() {
	for _, st := range a.site.Stations {
		said, ok := a.log.meters[st.ID]
		if !ok {
			a.find("energy", "%s: nothing was said of its meter at the end", st.ID)
			continue
		}
		sessions := a.of(st)
		drawn, lost, billed := a.log.wh(st.ID, forever), 0.0, int64(0)
		for _, c := range a.log.cuts {
			lost += a.lost(st, c)
		}
		for _, s := range sessions {
			billed += s.end().Energy
			a.drew(st, s)
		}
		unattributed := float64(said.Unattributed) / 1000
		missing := drawn - float64(billed) - unattributed
		a.figures.Wh += drawn
		a.figures.Billed += billed
		a.figures.Unattributed += unattributed
		a.figures.Lost += missing
		a.figures.MayBeLost += lost
		rounded := float64(len(sessions) + 1) // whole Wh in records, a pulse that has begun
		if missing < -rounded || missing > lost+rounded {
			a.find("energy", "%s: %d Wh in %d sessions and %.3f Wh nobody's, but its machine drew %.3f Wh: %.3f are missing, %.3f may be",
				st.ID, billed, len(sessions), unattributed, drawn, missing, lost)
		}
	}
}

// lost is what a cut may cost: nothing where the meter keeps its own register,
// else what flowed from the last thing that was written until pulses were heard again.
func (a *audit) lost(st Station, cut span) float64 {
	if st.Pulse == 0 {
		return 0
	}
	kept := moment(0)
	for _, s := range a.of(st) {
		for _, e := range s.events {
			if e.at <= cut.from {
				kept = max(kept, e.at)
			}
		}
		if s.span.has(cut.from) {
			kept = max(kept, cut.from.plus(-checkpoint))
		}
	}
	for _, c := range a.log.cuts { // what an earlier cut lost is lost already
		if c.from < cut.from {
			kept = max(kept, min(c.to, cut.from))
		}
	}
	return a.log.between(st.ID, span{kept, cut.to}) + st.Pulse
}

// drew holds one session against its machine.
func (a *audit) drew(st Station, s *session) {
	e := float64(s.end().Energy)
	most := a.log.between(st.ID, span{s.from.plus(-late), s.to}) + 1 + st.Pulse
	least := a.log.between(st.ID, span{s.from, s.to.plus(-late)}) - 1 - st.Pulse
	if st.Pulse == 0 {
		most = a.log.between(st.ID, span{s.from.plus(-poll), s.to}) + 1
		least = a.log.between(st.ID, span{s.from, s.to.plus(-poll)}) - 1
	}
	for _, c := range a.log.cuts {
		if c.meets(s.span) {
			least -= a.lost(st, c)
		}
	}
	// Where the meter had not answered again by the end, the rest is nobody's.
	if e > most || e < least && !(st.Pulse == 0 && s.marked("Estimated")) {
		a.find("energy", "%v: its machine drew %.3f to %.3f Wh", s, max(0, least), most)
	}
}
