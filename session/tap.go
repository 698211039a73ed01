package session

import (
	"cmp"
	"slices"
	"time"
)

// BadgeTapped says that an admissible badge was shown at a reader. Err is set
// when the list could not be asked.
type BadgeTapped struct {
	Reader  string
	UID     IDToken
	Card    Card
	Listing Listing
	Err     error
}

// CardRefused says that a reader met a card that is no badge for us.
type CardRefused struct {
	Reader string
	UID    IDToken // may be empty
	Reason Reason
	Card   Card
}

func (e CardRefused) apply(s *step) {
	s.refuse(Decision{Reader: e.Reader, UID: e.UID, Card: e.Card, Reason: e.Reason})
}

// ButtonPressed says that a select button at a reader was pressed: one of a
// station, or, with Station "", one that steps through them.
type ButtonPressed struct{ Reader, Station string }

func (e ButtonPressed) apply(s *step) {
	ids := s.m.readers[e.Reader]
	next := slices.Index(ids, e.Station)
	if e.Station == "" {
		next = (slices.Index(ids, s.st.readers[e.Reader].station) + 1) % max(1, len(ids))
	}
	if next < 0 || len(ids) == 0 {
		return
	}
	s.st.readers[e.Reader] = selection{station: ids[next], until: s.now.Up + selectTime}
	s.show(Signal{Name: SignalSelected, Reader: e.Reader, Station: ids[next]})
}

// option is what a tap would do at one station.
type option struct {
	station string
	rule    Rule
}

func (e BadgeTapped) apply(s *step) {
	ids := s.m.readers[e.Reader]
	sel, pending := s.st.readers[e.Reader]
	switch {
	case len(ids) == 0:
		s.refuse(e.decision(Decision{Reason: NoStation}))
		return
	case pending && sel.tap != nil && sel.tap.UID != e.UID:
		s.refuse(e.decision(Decision{Reason: SelectionPending, Station: sel.station}))
		return
	case pending && sel.tap == nil:
		delete(s.st.readers, e.Reader)
		ids = []string{sel.station}
	}
	all := s.options(e, ids)
	able := s.meant(slices.DeleteFunc(slices.Clone(all), func(o option) bool { return o.rule.Action == ActionNone }))
	slices.SortStableFunc(able, func(a, b option) int { return s.rank(a) - s.rank(b) })
	switch {
	case pending && sel.tap != nil && len(able) > 0:
		s.choose(e, able, sel.station)
	case len(able) == 0 || slices.ContainsFunc(all, dying):
		s.do(e, obstacle(all))
	case len(able) == 1:
		s.do(e, able[0])
	default:
		s.choose(e, able, "")
	}
}

// rank orders the options that taps step through by what is most likely meant:
// whoever charges wants to stop, whoever washes wants another machine.
func (s *step) rank(o option) int {
	stop := o.rule.Action == ActionStop
	switch charging := s.m.stations[o.station].Kind == Charging; {
	case stop && charging:
		return 0
	case stop:
		return 2
	}
	return 1
}

func dying(o option) bool { return o.rule.Reason == DeadTime }

// obstacle is the refusal that tells most: the badge's own doings first, then an
// occupied station, then whatever the first station says.
func obstacle(all []option) option {
	for _, r := range []Reason{DeadTime, AlreadyRunning, AccountLimit, StationOccupied} {
		if i := slices.IndexFunc(all, func(o option) bool { return o.rule.Reason == r }); i >= 0 {
			return all[i]
		}
	}
	return all[0]
}

// choose selects the station after the one that was selected; it is acted on
// when no further tap comes.
func (s *step) choose(e BadgeTapped, able []option, after string) {
	next := 0
	if i := slices.IndexFunc(able, func(o option) bool { return o.station == after }); i >= 0 {
		next = (i + 1) % len(able)
	}
	id := able[next].station
	s.st.readers[e.Reader] = selection{station: id, until: s.now.Up + stepTime, tap: &e}
	s.decide(e.decision(Decision{Action: ActionSelect, Station: id}))
	s.show(Signal{Name: SignalSelected, Reader: e.Reader, Station: id, Language: e.Listing.Entry.Language})
}

// options says what the tap would do at each station.
func (s *step) options(e BadgeTapped, ids []string) []option {
	var all []option
	for _, id := range ids {
		all = append(all, option{id, s.rule(e, id)})
	}
	return all
}

// meant leaves of what a tap could do what its badge can mean. A plug that came
// since the last session chooses its charging point, the first one of several;
// a point that sees no such plug is meant only where there is nothing else.
func (s *step) meant(able []option) []option {
	plug := func(o option) time.Duration {
		st, c := s.st.stations[o.station], s.m.stations[o.station]
		if o.rule.Action != ActionStart || !c.Plug || st.Spent {
			return 0
		}
		return st.plugged
	}
	first := slices.Clone(able)
	first = slices.DeleteFunc(first, func(o option) bool { return plug(o) == 0 })
	if len(first) > 0 {
		return []option{slices.MinFunc(first, func(a, b option) int { return cmp.Compare(plug(a), plug(b)) })}
	}
	rest := slices.DeleteFunc(slices.Clone(able), func(o option) bool {
		return o.rule.Action == ActionStart && s.m.stations[o.station].Plug
	})
	if len(rest) > 0 {
		return rest
	}
	return able
}

// rule is the policy for a tap at one station.
func (s *step) rule(e BadgeTapped, id string) Rule {
	c, st, _ := s.station(id)
	who, reason := s.who(e, c, st)
	r := s.m.policy[policyKey{c.Kind, who}][st.phase(c)]
	switch {
	case st.dying(e.UID, s.now.Up):
		return Rule{Reason: DeadTime}
	case r == Rule{}, r.Action == actionDeauthorize:
		r.Reason = reason
	case r.Action == ActionStart && s.exhausted(e.Listing.Entry):
		return Rule{Reason: AccountLimit}
	}
	return r
}

// who is the badge to the session at a station, and why Authorize refuses it
// where it does.
func (s *step) who(e BadgeTapped, c StationConfig, st *station) (Who, Reason) {
	t, l := st.Session, e.Listing
	_, starts := Authorize(s.request(c, l, false))
	_, ends := Authorize(s.request(c, l, true))
	if e.Err != nil {
		starts, ends = ListUnreadable, ListUnreadable
	}
	switch own := t != nil && t.UID == e.UID; {
	case own && e.Err == nil && withdrawn(l):
		return WhoBlocked, ends
	case own:
		return WhoOwner, ""
	case t != nil && t.Account != "" && ends == "" && l.Entry.Account == t.Account && l.Entry.Role != Tester && l.Entry.Role != Master:
		return WhoAccount, ""
	case starts != "":
		return WhoUnknown, starts
	case l.Entry.Role == Master:
		return WhoMaster, ""
	case l.Entry.Role == Tester:
		return WhoService, ""
	}
	return WhoOther, ""
}

func (s *step) request(c StationConfig, l Listing, ending bool) Request {
	return Request{l, c, s.m.cfg.Billing, s.now.Stamp, s.m.cfg.Zone, ending}
}

// exhausted tells whether an account, or a badge without one, runs as many
// sessions as the site allows.
func (s *step) exhausted(e Entry) bool {
	open := 0
	for _, st := range s.st.stations {
		if t := st.Session; t != nil && (t.UID == e.UID || e.Account != "" && t.Account == e.Account) {
			open++
		}
	}
	return s.m.cfg.MaxSessionsPerAccount > 0 && open >= s.m.cfg.MaxSessionsPerAccount
}

// do carries out what a tap does at a station.
func (s *step) do(e BadgeTapped, o option) {
	delete(s.st.readers, e.Reader)
	c, st, _ := s.station(o.station)
	d := e.decision(Decision{Station: c.ID, Action: o.rule.Action, Reason: o.rule.Reason})
	if st.Session != nil && (d.Action != ActionNone || d.Reason.Status() == ConcurrentTx) {
		d.TransactionID = st.Session.ID
	}
	if d.Reason.ofBadge() {
		d.Station = ""
	}
	switch o.rule.Action {
	case ActionStart, ActionTest:
		s.start(c, st, e, d)
	case ActionStop:
		why := ending{StoppedLocal, TriggerStopAuthorized}
		if e.Listing.Entry.Role == Master && st.Session.UID != e.UID {
			why.reason = StoppedMasterPass
		}
		st.kill(e.UID, s.now.Up, deadTime)
		d.Energy = st.Session.Now.WattHours() - st.Session.Start.WattHours()
		s.end(c, st, why)
		s.decide(d)
	case actionDeauthorize:
		s.deauthorize(c, st)
		d.Action = ActionNone
		s.refuse(d)
	default:
		s.refuse(d)
	}
}

func (s *step) start(c StationConfig, st *station, e BadgeTapped, d Decision) {
	name, test := SignalStarted, d.Action == ActionTest
	if test {
		name = SignalTest
	}
	d.TransactionID = s.begin(c, st, e.UID, e.Listing, TriggerAuthorized, test).ID
	st.kill(e.UID, s.now.Up, startDeadTime)
	s.decide(d)
	s.show(Signal{Name: name, Reader: e.Reader, Station: c.ID, Language: d.Language})
}

// decision fills in what every decision about the tap has.
func (e BadgeTapped) decision(d Decision) Decision {
	d.Reader, d.UID, d.Card, d.List = e.Reader, e.UID, e.Card, e.Listing.List
	d.Account, d.Language = e.Listing.Entry.Account, e.Listing.Entry.Language
	return d
}

// kill keeps a badge from acting at the station for a time.
func (s *station) kill(uid IDToken, now, d time.Duration) {
	s.dead = slices.DeleteFunc(s.dead, func(x dead) bool { return x.uid == uid || x.until <= now })
	s.dead = append(s.dead, dead{uid, now + d})
}

func (s *station) dying(uid IDToken, now time.Duration) bool {
	return slices.ContainsFunc(s.dead, func(x dead) bool { return x.uid == uid && now < x.until })
}
