package session

// CommandName is what the backend or the technician may order.
type CommandName string

// The commands.
const (
	CommandStart   CommandName = "start" // for the badge named
	CommandStop    CommandName = "stop"
	CommandEnable  CommandName = "enable"
	CommandDisable CommandName = "disable" // starts only: a session may end
	CommandTest    CommandName = "test"    // the relay, as with a service badge
)

// Commanded orders something at a station. Its Outcome has one Decision.
type Commanded struct {
	Name    CommandName
	Station string
	UID     IDToken // of a start
	Listing Listing // of UID
	Err     error   // the list could not be asked
}

func (e Commanded) apply(s *step) {
	c, st, ok := s.station(e.Station)
	d := Decision{Station: e.Station, UID: e.UID}
	switch {
	case !ok:
		d.Reason = NoStation
		s.decide(d)
	case e.Name == CommandStart:
		s.startRemote(c, st, e)
	case e.Name == CommandStop:
		s.stopRemote(c, st, d)
	case e.Name == CommandTest:
		s.testRemote(c, st, d)
	default:
		st.Disabled = e.Name == CommandDisable
		if !st.Disabled {
			st.broken = "" // a person has looked at it
		}
		s.save(c.ID)
		s.decide(d)
	}
}

func (s *step) startRemote(c StationConfig, st *station, e Commanded) {
	tap := BadgeTapped{Reader: c.Reader, UID: e.UID, Listing: e.Listing, Err: e.Err}
	r := s.rule(tap, c.ID)
	d := tap.decision(Decision{Station: c.ID, Reason: r.Reason})
	if r.Action != ActionStart {
		if d.Reason == "" {
			d.Reason = StationOccupied
		}
		s.decide(d)
		return
	}
	d.Action = ActionStart
	d.TransactionID = s.begin(c, st, e.UID, e.Listing, TriggerRemoteStart, false).ID
	s.decide(d)
	s.show(Signal{Name: SignalStarted, Reader: c.Reader, Station: c.ID, Language: d.Language})
}

func (s *step) stopRemote(c StationConfig, st *station, d Decision) {
	if st.Session == nil {
		d.Reason = NoSession
		s.decide(d)
		return
	}
	d.Action, d.TransactionID, d.Account = ActionStop, st.Session.ID, st.Session.Account
	s.end(c, st, ending{StoppedRemote, TriggerRemoteStop})
	s.decide(d)
}

// testRemote closes the relay for a moment wherever a service badge would: never
// in a session.
func (s *step) testRemote(c StationConfig, st *station, d Decision) {
	r := s.m.policy[policyKey{c.Kind, WhoService}][st.phase(c)]
	if d.Reason = r.Reason; r.Action == ActionTest {
		d.Action = ActionTest
		d.TransactionID = s.begin(c, st, "", Listing{}, TriggerRemoteStart, true).ID
		s.show(Signal{Name: SignalTest, Reader: c.Reader, Station: c.ID})
	}
	s.decide(d)
}
