package session

import (
	"maps"
	"slices"
	"time"
)

// pulseGap is how long a daemon may be away before a pulse meter's session is
// called an estimate: the kernel keeps the pulses of a short absence.
const pulseGap = 2 * time.Minute

// Restore returns the State that the journal's states describe, and what to do
// about it. After a restart of the daemon alone nothing changes; after a power
// cut the sessions go on or end by the rules of ResumeWithin and ResumeWait.
// Drive every relay to State.Relay before anything slow.
func (m *Machine) Restore(states map[string][]byte, now Moment) (State, Outcome) {
	s := m.begin(State{}, now)
	for _, id := range slices.Sorted(maps.Keys(states)) {
		st, err := decodeStation(states[id])
		if err != nil {
			s.fault(id, "stored state lost: "+err.Error())
			continue
		}
		st.saved = st.Register
		s.st.stations[id] = st
	}
	for _, id := range slices.Sorted(maps.Keys(s.st.stations)) {
		c, st, configured := s.station(id)
		if !configured {
			s.orphan(id, st)
			continue
		}
		s.wake(c, st)
		if st.due(c, s.now.Up) { // what came due meanwhile closes no relay for a moment
			s.expire(c, st)
		}
	}
	return s.finish()
}

// orphan ends the session of a station that the config no longer has.
func (s *step) orphan(id string, st *station) {
	if t := st.Session; t != nil {
		c := StationConfig{ID: id, Kind: t.Kind}
		t.mark(ReviewEstimated)
		s.rebase(st)
		s.end(c, st, ending{StoppedOther, TriggerAbnormalCondition})
	}
	st.Release = 0
}

// rebase lets the session's time go on in this boot, without the time off.
func (s *step) rebase(st *station) {
	t := st.Session
	t.Before, t.Since = t.age(st.At.Up), s.now.Up
}

// wake carries a station over a restart or a power cut.
func (s *step) wake(c StationConfig, st *station) {
	t, same := st.Session, st.At.BootID == s.now.BootID
	// Once it is over, a release closes no relay that fell meanwhile, and opens none
	// before the meter can tell whether a machine runs on it.
	st.left = st.Release > 0 && st.Release <= s.now.Up
	if !same { // every relay has fallen, so that nothing was drawn since
		st.Release, st.Ran, st.ReadAt = 0, min(st.Ran, 1), st.readBefore(s.now.Up)
	}
	st.meter.at = st.ReadAt // a register that has jumped since is found out
	if t == nil {
		return
	}
	pulses := c.Meter && !c.MeterPower
	if same {
		// Whoever has just started it may still stand there and tap once more.
		if age := t.age(s.now.Up); age < startDeadTime {
			st.kill(t.UID, s.now.Up, startDeadTime-age)
		}
		if pulses && s.now.Up-st.At.Up > pulseGap {
			t.mark(ReviewEstimated)
		}
		return
	}
	s.rebase(st)
	t.mark(ReviewPowerLoss)
	if pulses {
		t.mark(ReviewEstimated)
	}
	if st.At.Clock == ClockUnknown {
		t.mark(ReviewTimeUnknown)
	}
	s.cut(c, st)
	s.save(c.ID)
}

// unsaved is how long a session's meter may have been read before a power cut
// without being kept: minutes, and more on a disk that fails.
const unsaved = time.Hour

// readBefore is when, in this boot's Up, the last reading before a power cut would
// have been if the machine ran for unsaved after it was kept, 0 without a session or
// a reading: nothing is known of what flows then.
func (s *station) readBefore(up time.Duration) time.Duration {
	if s.Session == nil || s.ReadAt == 0 {
		return 0
	}
	return up - unsaved - max(0, s.At.Up-s.ReadAt)
}

// cut begins the recovery of a session from a power cut.
func (s *step) cut(c StationConfig, st *station) {
	t := st.Session
	if t.Test {
		s.end(c, st, ending{StoppedPowerLoss, TriggerAbnormalCondition})
		return
	}
	r := &recovery{Cut: st.At, Until: s.now.Up + c.ResumeWait}
	if t.Kind == Laundry {
		r.Until = s.now.Up + proveDraw
	}
	if t.Recovery != nil { // cut again before it was decided
		r.Cut, r.Over = t.Recovery.Cut, t.Recovery.Over
		if r.Over {
			r.Until = s.now.Up + lastReading
		}
	}
	t.Recovery = r
	s.recover(c, st)
}

// recover decides about a session that a power cut interrupted, as soon as that
// can be decided. It returns true while the session is not to be judged by its
// load, or has ended.
func (s *step) recover(c StationConfig, st *station) bool {
	t := st.Session
	if t == nil || t.Recovery == nil {
		return t == nil
	}
	r := t.Recovery
	r.poll = s.now.Up + clockPoll
	if off, known := s.off(r.Cut); known && !r.Over {
		if off <= c.ResumeWithin {
			s.resume(c, st)
			return false
		}
		r.Over, r.Until = true, s.now.Up+lastReading
		s.save(c.ID)
	}
	switch due := s.now.Up >= r.Until; {
	case r.Over && (due || !c.MeterPower || st.meter.alive):
		s.end(c, st, ending{StoppedPowerLoss, TriggerAbnormalCondition})
	case r.Over:
	case t.Kind == Laundry && st.proves(c, due):
		s.resume(c, st)
		return false
	case due:
		s.end(c, st, ending{StoppedPowerLoss, TriggerAbnormalCondition})
	}
	return true
}

func (s *step) resume(c StationConfig, st *station) {
	st.Session.Recovery = nil
	s.save(c.ID)
}

// proves tells whether a washing machine goes on after a power cut. Where
// nothing measures it, or the meter has not answered in time, it is taken to.
func (s *station) proves(c StationConfig, due bool) bool {
	switch {
	case !c.Meter:
		return true
	case !s.meter.alive:
		return due
	case s.meter.hasPower:
		return s.meter.power > c.IdlePower
	}
	return len(s.meter.window) > 0 && s.meter.counted > s.meter.window[0].counted
}

// off is how long the board was without power, where both ends of it are known.
func (s *step) off(cut Stamp) (time.Duration, bool) {
	if cut.Clock != ClockSynced || s.now.Clock != ClockSynced {
		return 0, false
	}
	off := s.now.Wall.Add(-s.now.Up).Sub(cut.Wall)
	return off, off >= 0
}
