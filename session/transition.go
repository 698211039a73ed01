package session

import (
	"slices"
	"time"
)

// begin opens a session at a station for the badge of l.
func (s *step) begin(c StationConfig, st *station, uid IDToken, l Listing, why Trigger, test bool) *tx {
	e := l.Entry
	t := &tx{
		ID: s.m.cfg.NewID(), UID: uid, Account: e.Account, Language: e.Language, Kind: c.Kind,
		List: ListPoint{l.List.Epoch, l.List.Version}, Phase: PhasePreparing,
		Start: st.Register, Now: st.Register, Since: s.now.Up, Test: test,
	}
	if test {
		t.Review = []Review{ReviewServiceTest}
	} else {
		st.Release = 0
	}
	if st.left = false; !c.Meter && !test {
		st.Ran = s.now.Up
	}
	if test || !c.Meter && !c.Plug || st.plugged > 0 {
		t.Phase = PhaseInUse
	}
	st.Session = t
	st.meter.restart(s.now.Up)
	s.out.Starts, s.out.Station, s.out.Reader = true, c.ID, c.Reader
	s.record(c, t, Started, why, "")
	s.save(c.ID)
	return t
}

// enter moves the session to a phase and reports it.
func (s *step) enter(c StationConfig, st *station, p Phase) {
	st.Session.Phase = p
	if !s.now.Quiet {
		s.record(c, st.Session, Updated, TriggerChargingState, "")
	}
	s.save(c.ID)
}

// ending is why a session ends.
type ending struct {
	reason StoppedReason
	why    Trigger
}

// end closes the session. After laundry the relay stays on for the door, unless
// nothing was begun.
func (s *step) end(c StationConfig, st *station, e ending) {
	t := st.Session
	if c.Meter && !st.meter.alive {
		t.mark(ReviewEstimated)
	}
	s.record(c, t, Ended, e.why, e.reason)
	hadRelay := t.Recovery == nil || !t.Recovery.Over
	if c.Kind == Laundry && t.Phase != PhasePreparing && !t.Test && hadRelay {
		st.Release, st.strayed = s.now.Up+max(c.DoorRelease, 1), false
	}
	if st.Session = nil; !t.Test {
		st.Spent = st.plugged > 0
	}
	s.show(Signal{
		Name: SignalEnded, Reader: c.Reader, Station: c.ID, Language: t.Language,
		Energy: t.Now.WattHours() - t.Start.WattHours(),
	})
	s.save(c.ID)
}

// record appends the next TransactionEvent of t.
func (s *step) record(c StationConfig, t *tx, kind EventType, why Trigger, stopped StoppedReason) {
	from, to := t.Start.WattHours(), t.Now.WattHours()
	s.out.Commit.Records = append(s.out.Commit.Records, TransactionEvent{
		EventType: kind, TransactionID: t.ID, SeqNo: t.NextSeq, TriggerReason: why, StoppedReason: stopped,
		Offline: s.now.Offline, Station: c.ID, Kind: t.Kind, Account: t.Account, UID: s.uid(t),
		List: t.List, MeterStart: from, MeterValue: to, Energy: to - from,
		Seconds: int64(t.age(s.now.Up) / time.Second), Review: slices.Clone(t.Review), At: s.now.Stamp,
	})
	t.NextSeq++
}

// uid is how records carry the badge of t; the relay can be tested without one.
func (s *step) uid(t *tx) string {
	if t.UID == "" {
		return ""
	}
	return s.m.cfg.UIDForm(t.UID)
}

// deauthorize ends the session of a badge that was blocked or removed. A washing
// cycle runs out first: water in the drum helps nobody.
func (s *step) deauthorize(c StationConfig, st *station) {
	t := st.Session
	switch {
	case t.Kind == Charging || t.Phase != PhaseInUse:
		s.end(c, st, ending{StoppedDeAuthorized, TriggerDeauthorized})
	case !t.Deauth:
		t.Deauth = true
		s.record(c, t, Updated, TriggerDeauthorized, "")
		s.save(c.ID)
	}
}

// PlugChanged says that a plug came or went.
type PlugChanged struct {
	Station string
	In      bool
}

func (e PlugChanged) apply(s *step) {
	c, st, ok := s.station(e.Station)
	if !ok || e.In == (st.plugged > 0) && st.Session == nil && st.watched {
		return
	}
	t := st.Session
	st.plug(e.In, s.now.Up)
	if t == nil {
		s.save(c.ID)
	}
	switch {
	case t == nil || t.Test || !c.Plug:
	case e.In && t.Phase == PhasePreparing:
		t.Drawing = t.age(s.now.Up)
		s.enter(c, st, PhaseInUse)
	case !e.In && t.Phase != PhasePreparing:
		s.end(c, st, ending{StoppedEVDisconnected, TriggerEVDeparted})
	}
}

// plug notes that a plug came or went. One that is in when the daemon starts is
// the one that was in when it stopped, as far as anybody knows.
func (s *station) plug(in bool, now time.Duration) {
	switch fresh := s.plugged == 0 && s.watched; {
	case !in:
		s.plugged, s.Spent = 0, false
	case fresh:
		s.plugged, s.Spent = max(now, 1), false
	case s.plugged == 0:
		s.plugged = max(now, 1)
	}
	s.watched = true
}

// ListingChanged says what the list in force now says about the badge of a
// station's session.
type ListingChanged struct {
	Station string
	UID     IDToken
	Listing Listing
}

func (e ListingChanged) apply(s *step) {
	c, st, ok := s.station(e.Station)
	if ok && st.Session != nil && st.Session.UID == e.UID && withdrawn(e.Listing) {
		s.deauthorize(c, st)
	}
}

// withdrawn tells whether a badge was blocked or removed. Expiry and a list that
// was lost are neither.
func withdrawn(l Listing) bool {
	if !l.Found {
		return l.List != ListVersion{}
	}
	return l.Entry.Status != Accepted && l.Entry.Status != Expired
}

// RelayFailed says that a relay did not obey. On is what was asked for.
type RelayFailed struct {
	Station string
	On      bool
	Why     string // "" when it obeys again
}

func (e RelayFailed) apply(s *step) {
	c, st, ok := s.station(e.Station)
	if !ok || st.broken == e.Why {
		return
	}
	st.broken = e.Why
	if e.Why == "" {
		return
	}
	s.fault(c.ID, "relay: "+e.Why)
	if e.On && st.Session != nil {
		st.Release = 0
		s.end(c, st, ending{StoppedOther, TriggerAbnormalCondition})
		st.Release = 0
	}
}
