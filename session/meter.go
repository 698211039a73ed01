package session

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Sample is what a meter says at one moment.
type Sample struct {
	Register MilliWattHours
	Power    float64 // W, meaningless unless HasPower
	HasPower bool
	Lost     bool   // the meter does not answer; nothing else but Why counts then
	Why      string // it is lost, for the technician; may be empty
	// Doubt is what makes the register too low, perhaps, though the meter is
	// heard: a pulse input that chatters or whose queue overflowed. "" is none.
	Doubt string
}

// maxRegister is beyond any meter's display: 1 TWh.
const maxRegister MilliWattHours = 1e15

// plausible keeps garbage from a bus out of the arithmetic.
func (s Sample) plausible() bool {
	return s.Register >= 0 && s.Register <= maxRegister && (!s.HasPower || math.Abs(s.Power) < 1e6)
}

// windowPoints bounds the memory of the sliding window.
const windowPoints = 32

// meter is what a station has seen of its meter since the daemon started.
type meter struct {
	alive    bool          // has answered lately
	silent   string        // why it is not alive; "" before anybody asked
	at       time.Duration // Up of the last sample
	power    float64
	hasPower bool
	counted  MilliWattHours // sum of all that the register went forward
	work     float64        // mWh, integral of the power
	unit     MilliWattHours // the register's smallest step so far; 0 is unknown
	window   []point        // oldest first
}

type point struct {
	up      time.Duration
	counted MilliWattHours
	work    float64
}

// integrate adds what the last known power drew until now. A meter's register
// may be too coarse for the window; its power is not.
func (m *meter) integrate(now time.Duration) {
	if m.alive && m.hasPower {
		m.work += m.power * 1000 * min(now-m.at, meterSilence).Hours()
	}
}

// push adds a point and drops what is older than the window needs. Points come
// at most windowPoints a window, so the window is up to that much longer.
func (m *meter) push(now, window time.Duration) {
	p := point{now, m.counted, m.work}
	w := m.window
	for len(w) > 1 && w[1].up <= now-window {
		w = w[1:]
	}
	if n := len(w); n > 1 && now-w[n-2].up < window/windowPoints {
		w = w[:n-1]
	}
	m.window = append(slices.Clip(slices.Clone(w)), p)
}

// restart begins the window anew: for a new session, or after a silence.
func (m *meter) restart(now time.Duration) { m.window = []point{{now, m.counted, m.work}} }

// drawn is the energy in the window, and whether all of the window is known.
func (m *meter) drawn(now, window time.Duration) (MilliWattHours, bool) {
	if len(m.window) == 0 {
		return 0, false
	}
	first := m.window[0]
	e := m.counted - first.counted
	if m.hasPower {
		// A register of 10 Wh steps at the end of a long rest: one step proves nothing.
		e = max(e-m.unit, MilliWattHours(m.work-first.work))
	}
	return e, first.up <= now-window
}

// runs tells that the machine draws more than its idle power.
func (s *station) runs(c StationConfig, now time.Duration) bool {
	e, _ := s.meter.drawn(now, c.IdleFor)
	return c.Meter && s.meter.alive && e > c.idleBudget()
}

// idles tells that the machine is known to have been idle for the whole window.
func (s *station) idles(c StationConfig, now time.Duration) bool {
	e, full := s.meter.drawn(now, c.IdleFor)
	return c.Meter && s.meter.alive && full && e <= c.idleBudget()
}

// mayRun tells that the machine runs, or that nobody can tell that it does not. No
// cycle lasts longer than max_duration, and run_time where nothing measures: so long
// after the machine was last known to run, or was started, it is taken to be over.
func (s *station) mayRun(c StationConfig, now time.Duration) bool {
	longest := c.MaxDuration
	if !c.Meter {
		longest = c.RunTime
	}
	recent := s.Ran > 0 && now < s.Ran+longest
	return s.runs(c, now) || recent && !s.idles(c, now)
}

// MeterRead says that a station's meter was read, or could not be.
type MeterRead struct {
	Station string
	Sample  Sample
}

func (e MeterRead) apply(s *step) {
	c, st, ok := s.station(e.Station)
	switch {
	case !ok:
	case e.Sample.Lost:
		s.lose(c, st, cmp.Or(e.Sample.Why, "does not answer"))
	case !e.Sample.plausible():
		s.lose(c, st, "answers what no meter can have counted")
	default:
		s.count(c, st, e.Sample)
		s.doubt(c, st, e.Sample.Doubt)
		if st.runs(c, s.now.Up) {
			st.Ran = s.now.Up
		}
		s.astray(c, st)
		s.judge(c, st)
		s.checkpoint(c, st)
	}
}

// doubt marks the session whose pulses may not all have been counted. What has
// been seen proves no idleness then, so the window begins anew.
func (s *step) doubt(c StationConfig, st *station, why string) {
	if why == "" {
		return
	}
	s.faultOnce(c.ID, st, "meter in doubt: "+why)
	st.meter.restart(s.now.Up)
	if t := st.Session; t != nil && t.mark(ReviewMeterDoubt) {
		s.save(c.ID)
	}
}

// astray reports, once a door release, a machine that somebody runs on it: its
// energy is nobody's.
func (s *step) astray(c StationConfig, st *station) {
	if st.Session == nil && st.Release > 0 && !st.strayed && st.runs(c, s.now.Up) {
		st.strayed = true
		s.fault(c.ID, "runs in door release, without a session")
	}
}

// lose notes that the meter is silent: from now on nothing is known of the load.
func (s *step) lose(c StationConfig, st *station, why string) {
	if st.meter.alive {
		s.faultOnce(c.ID, st, "meter lost")
	}
	st.meter.alive, st.meter.silent = false, why
	st.meter.hasPower, st.meter.power, st.meter.window = false, 0, nil
	if t := st.Session; t != nil && t.mark(ReviewMeterLost) {
		s.save(c.ID)
	}
}

// count attributes what the register went forward since the last reading.
func (s *step) count(c StationConfig, st *station, sample Sample) {
	now, m := s.now.Up, &st.meter
	back := !m.alive
	m.integrate(now)
	if st.Known {
		s.advance(c, st, sample.Register-st.Register)
	}
	st.Register, st.Known, st.ReadAt = sample.Register, true, now
	m.power, m.hasPower, m.alive, m.at = max(0, sample.Power), sample.HasPower, true, now
	if back {
		m.restart(now)
		if st.Session != nil { // it may have drawn until now
			st.Session.LastDraw = st.Session.age(now)
		}
		return
	}
	m.push(now, c.IdleFor)
}

// advance gives delta to the session or to nobody. A register that went back or
// jumped gives nothing to the session but a mark, and proves no rest: the window
// begins anew.
func (s *step) advance(c StationConfig, st *station, delta MilliWattHours) {
	t := st.Session
	if delta < 0 || s.jumped(c, st, delta) {
		s.faultOnce(c.ID, st, "meter register went back or jumped")
		st.meter.restart(s.now.Up)
		if t != nil && t.mark(ReviewMeterBackward) {
			s.save(c.ID)
		}
		st.Unattributed += max(0, delta)
		return
	}
	st.meter.counted += delta
	if m := &st.meter; delta > 0 && (m.unit == 0 || delta < m.unit) {
		m.unit = delta
	}
	if t != nil {
		t.Now += delta
		return
	}
	st.Unattributed += delta
}

// jumped tells whether the register ran faster than the station can. Over a
// silence of unknown length nothing can be said.
func (s *step) jumped(c StationConfig, st *station, delta MilliWattHours) bool {
	if c.MaxPower == 0 || st.meter.at == 0 {
		return false
	}
	return delta > energy(c.MaxPower, s.now.Up-st.meter.at)+MilliWattHours(100_000)
}

// judge moves the session on by what the window says.
func (s *step) judge(c StationConfig, st *station) {
	t := st.Session
	if t == nil || t.Test || s.recover(c, st) {
		return
	}
	age := t.age(s.now.Up)
	if m := st.meter; m.hasPower && m.power > c.StandbyPower {
		t.LastDraw = age
	}
	switch runs, idles := st.runs(c, s.now.Up), st.idles(c, s.now.Up); {
	case runs && t.Phase != PhaseInUse:
		if t.Phase == PhasePreparing {
			t.Drawing = age
		}
		s.enter(c, st, PhaseInUse)
	case idles && t.Phase != PhasePreparing && c.Kind == Laundry && age >= t.Drawing+c.EarliestEnd:
		s.end(c, st, ending{programOver(t), TriggerChargingState})
	case idles && t.Phase == PhaseInUse:
		s.enter(c, st, PhaseFinishing)
	}
}

// programOver is the reason of a machine that has come to rest.
func programOver(t *tx) StoppedReason {
	if t.Deauth {
		return StoppedDeAuthorized
	}
	return StoppedOther
}

// checkpoint keeps the register from time to time, so that a power cut loses
// little, and not always, so that the card lives.
func (s *step) checkpoint(c StationConfig, st *station) {
	interval, flows := idleCheckpoint, st.Register != st.saved
	switch {
	case st.Session != nil && flows:
		interval = flowCheckpoint
	case st.Session != nil:
		interval = quietCheckpoint
	case !flows:
		return
	}
	if st.At.BootID != s.now.BootID || s.now.Up-st.At.Up >= interval {
		s.save(c.ID)
	}
}
