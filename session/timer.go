package session

import (
	"maps"
	"slices"
	"time"
)

// TimerDue says that the Up of NextDeadline has come. It is due again at once
// when several things are.
type TimerDue struct{}

func (TimerDue) apply(s *step) {
	due := false
	for _, id := range slices.Sorted(maps.Keys(s.m.stations)) {
		c, st, _ := s.station(id)
		if st.due(c, s.now.Up) {
			due = true
			s.expire(c, st)
		}
	}
	// A selection may start a session, which stands alone in its commit because
	// it can fail.
	if due {
		return
	}
	for _, reader := range slices.Sorted(maps.Keys(s.st.readers)) {
		if sel := s.st.readers[reader]; sel.until <= s.now.Up {
			s.decideSelection(reader, sel)
			return
		}
	}
}

// decideSelection acts on the station that a badge stopped at.
func (s *step) decideSelection(reader string, sel selection) {
	delete(s.st.readers, reader)
	if sel.tap != nil {
		s.do(*sel.tap, option{sel.station, s.rule(*sel.tap, sel.station)})
	}
}

// deadline is the Up at which the station needs a TimerDue, negative for never.
func (s *station) deadline(c StationConfig, now time.Duration) time.Duration {
	next := time.Duration(-1)
	if s.starting {
		return next
	}
	if s.meter.alive {
		next = sooner(next, s.meter.at+meterSilence)
	}
	if s.Release > 0 {
		next = sooner(next, s.releaseEnd(c, now))
	}
	t := s.Session
	if t == nil {
		return next
	}
	if t.Recovery != nil {
		return sooner(next, min(t.Recovery.Until, t.Recovery.poll))
	}
	next = sooner(next, s.At.Up+quietCheckpoint)
	if limit, ok := s.limit(c); ok {
		next = sooner(next, now+max(0, limit-t.age(now)))
	}
	if t.Kind == Charging && !t.Test {
		next = sooner(next, t.clockAt)
	}
	return next
}

// due tells whether something has come due at the station.
func (s *station) due(c StationConfig, now time.Duration) bool {
	at := s.deadline(c, now)
	return at >= 0 && at <= now
}

// releaseEnd never falls into a cycle that runs, or may.
func (s *station) releaseEnd(c StationConfig, now time.Duration) time.Duration {
	if s.Release <= now && s.mayRun(c, now) {
		return now + clockPoll
	}
	return s.Release
}

// limit is the age at which the session ends by itself, if it does.
func (s *station) limit(c StationConfig) (time.Duration, bool) {
	t := s.Session
	switch {
	case t.Test:
		return testTime, true
	case t.Phase == PhasePreparing:
		return s.patience(c), true
	case !c.Meter && c.Kind == Laundry:
		return t.Drawing + c.RunTime, true
	}
	return t.Drawing + c.MaxDuration, c.MaxDuration > 0
}

// freeIn is how long the station stays occupied, where that is known; else 0.
func (s *station) freeIn(c StationConfig, now time.Duration) time.Duration {
	t := s.Session
	switch {
	case t == nil || t.Test || t.Recovery != nil || c.Kind != Laundry:
		return 0
	case !c.Meter:
		return max(0, t.Drawing+c.RunTime-t.age(now))
	case t.Phase == PhaseFinishing && s.meter.alive:
		return max(0, t.Drawing+c.EarliestEnd-t.age(now))
	}
	return 0
}

// patience is how long Preparing lasts. Pulses cannot tell a programmed delay
// from a machine that is off, and a meter that is silent, or whose register is
// not to be believed and stands alone, tells nothing.
func (s *station) patience(c StationConfig) time.Duration {
	switch {
	case c.Plug:
		return c.StartTimeout
	case c.Meter && (!s.meter.alive || !s.meter.hasPower && s.Session.unsure()):
		return max(c.DelayMax, c.MaxDuration)
	case c.Meter && !c.MeterPower:
		return c.DelayMax
	}
	return min(s.Session.LastDraw+c.StartTimeout, max(c.DelayMax, c.StartTimeout))
}

// expire does what is due at a station.
func (s *step) expire(c StationConfig, st *station) {
	now := s.now.Up
	if st.starting {
		return
	}
	if st.meter.alive && now >= st.meter.at+meterSilence {
		s.lose(c, st, "has said nothing for "+meterSilence.String())
	}
	if st.Release > 0 && st.releaseEnd(c, now) <= now {
		st.Release = 0
		s.save(c.ID)
	}
	if st.Session == nil || s.recover(c, st) {
		return
	}
	t := st.Session
	if limit, ok := st.limit(c); ok && t.age(now) >= limit {
		s.end(c, st, t.expiry(c))
		return
	}
	if t.Kind == Charging && !t.Test && now >= t.clockAt {
		s.clock(c, t)
	}
	if now >= st.At.Up+quietCheckpoint {
		s.save(c.ID)
	}
}

// expiry is why a session that reached its limit ends.
func (t *tx) expiry(c StationConfig) ending {
	switch {
	case t.Test:
		return ending{StoppedLocal, TriggerTimeLimit}
	case t.Phase == PhasePreparing:
		return ending{StoppedTimeout, TriggerConnectTimeout}
	case t.Deauth:
		return ending{StoppedDeAuthorized, TriggerTimeLimit}
	case !c.Meter && c.Kind == Laundry:
		return ending{StoppedOther, TriggerTimeLimit}
	}
	return ending{StoppedTimeLimitReached, TriggerTimeLimit}
}

// clock reports a charging session at every quarter of an hour.
func (s *step) clock(c StationConfig, t *tx) {
	if t.clockAt > 0 && !s.now.Quiet {
		s.record(c, t, Updated, TriggerMeterClock, "")
		s.save(c.ID)
	}
	wait := clockUpdate
	if s.now.Clock != ClockUnknown {
		wait = s.now.Wall.Truncate(clockUpdate).Add(clockUpdate).Sub(s.now.Wall)
	}
	t.clockAt = s.now.Up + wait
}

// stopping keeps what a clean stop of the daemon would otherwise lose, and ends
// door releases: a relay without a session is not left on.
type stopping struct{}

func (stopping) apply(s *step) {
	for id, c := range s.m.stations {
		st := s.st.stations[id]
		if st.starting { // decided when the start is written, or is not
			continue
		}
		if st.Session == nil && st.Release > 0 {
			if !st.mayRun(c, s.now.Up) {
				st.Release = 0 // nobody would open the relay later
			}
			s.save(id)
		}
		if st.Session != nil || st.Register != st.saved {
			s.save(id)
		}
	}
}
