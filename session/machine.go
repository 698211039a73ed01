package session

import (
	"time"
)

// Machine decides for all stations of a gateway. It is pure: Step takes a State
// and an Event and returns the State after it and what to do, so that a step can
// be tried and thrown away. It is safe for concurrent use.
type Machine struct {
	cfg      Config
	stations map[string]StationConfig
	readers  map[string][]string // station ids in the order of the config
	policy   map[policyKey]map[Phase]Rule
}

// NewMachine returns the machine of a site. Station ids are unique in cfg.
func NewMachine(cfg Config) *Machine {
	m := &Machine{cfg, make(map[string]StationConfig), make(map[string][]string), policyIndex()}
	if cfg.UIDForm == nil {
		m.cfg.UIDForm = func(t IDToken) string { return string(t) }
	}
	for _, c := range cfg.Stations {
		m.stations[c.ID] = c
		m.readers[c.Reader] = append(m.readers[c.Reader], c.ID)
	}
	return m
}

// Moment is the circumstances of a Step.
type Moment struct {
	Stamp
	Offline bool // the broker is out of reach
	// Quiet leaves out records that can be spared, while none can be stored.
	Quiet bool
}

// Event is something that happened: one of BadgeTapped, CardRefused,
// ButtonPressed, MeterRead, PlugChanged, ListingChanged, Commanded, TimerDue and
// RelayFailed.
type Event interface{ apply(*step) }

// Outcome is what a Step wants done besides driving the relays to State.Relay.
// That comes first and whatever becomes of the commit, so that an opening relay
// waits for nothing; where Starts is set it comes after the commit holds.
type Outcome struct {
	Commit    Commit
	Signals   []Signal
	Decisions []Decision
	Faults    []string // what is newly wrong, for the log
	// Starts is set when the commit begins a session. If it fails then, the State
	// before holds and nothing has happened; any other commit is tried again.
	Starts bool
	// Station and Reader are what a start touches.
	Station, Reader string
}

// Empty tells whether there is nothing to make durable.
func (c Commit) Empty() bool {
	return len(c.States) == 0 && len(c.Records) == 0 && len(c.Telemetry) == 0
}

// step is one Step in the making.
type step struct {
	m     *Machine
	st    State
	now   Moment
	out   Outcome
	dirty map[string]bool
}

// Step applies e to s. s itself is left as it was.
func (m *Machine) Step(s State, now Moment, e Event) (State, Outcome) {
	w := m.begin(s, now)
	e.apply(w)
	return w.finish()
}

func (m *Machine) begin(s State, now Moment) *step {
	w := &step{m: m, st: s.clone(), now: now, dirty: make(map[string]bool)}
	for id := range m.stations {
		if w.st.stations[id] == nil {
			w.st.stations[id] = &station{}
		}
	}
	return w
}

func (s *step) finish() (State, Outcome) {
	for id := range s.dirty {
		s.keep(id)
	}
	return s.st, s.out
}

func (s *step) keep(id string) {
	st := s.st.stations[id]
	st.At, st.saved = s.now.Stamp, st.Register
	if s.out.Commit.States == nil {
		s.out.Commit.States = make(map[string][]byte)
	}
	s.out.Commit.States[id] = st.encode()
}

// station returns a configured station and its state to change.
func (s *step) station(id string) (StationConfig, *station, bool) {
	c, ok := s.m.stations[id]
	return c, s.st.stations[id], ok
}

func (s *step) save(id string) { s.dirty[id] = true }

func (s *step) show(sig Signal) {
	if sig.Language == "" {
		sig.Language = s.m.cfg.Language
	}
	s.out.Signals = append(s.out.Signals, sig)
}

type faultBody struct {
	Station string `json:"station"`
	Fault   string `json:"fault"`
}

func (s *step) fault(id, what string) {
	s.out.Faults = append(s.out.Faults, id+": "+what)
	s.tell("Fault", faultBody{id, what})
}

// faultOnce reports a fault that comes again with every reading at most every
// faultInterval.
func (s *step) faultOnce(id string, st *station, what string) {
	if st.told == what && s.now.Up-st.toldAt < faultInterval {
		return
	}
	st.told, st.toldAt = what, s.now.Up
	s.fault(id, what)
}

func (s *step) tell(kind string, body any) {
	s.out.Commit.Telemetry = append(s.out.Commit.Telemetry, Telemetry{kind, s.now.Stamp, body})
}

type decisionBody struct {
	Reader        string   `json:"reader"`
	UID           string   `json:"uid"` // masked
	Type          string   `json:"type,omitempty"`
	Status        Status   `json:"status"`
	Reason        Reason   `json:"reason,omitempty"`
	Action        Action   `json:"action,omitempty"`
	Station       string   `json:"station,omitempty"`
	TransactionID string   `json:"transactionId,omitempty"`
	Notes         []string `json:"notes,omitempty"`
}

func (s *step) decide(d Decision) {
	d.At = s.now.Stamp
	if d.Status == "" {
		d.Status = d.Reason.Status()
	}
	s.out.Decisions = append(s.out.Decisions, d)
	s.tell("Decision", decisionBody{
		Reader: d.Reader, UID: d.UID.Masked(), Type: d.Card.Type, Status: d.Status, Reason: d.Reason, Action: d.Action,
		Station: d.Station, TransactionID: d.TransactionID, Notes: d.Card.Notes,
	})
}

// refuse decides against a tap and shows why.
func (s *step) refuse(d Decision) {
	s.decide(d)
	sig := Signal{Name: SignalRefused, Reason: d.Reason, Reader: d.Reader, Station: d.Station, Language: d.Language}
	if c, st, ok := s.station(d.Station); ok && d.Reason == StationOccupied {
		sig.FreeIn = st.freeIn(c, s.now.Up)
	}
	s.show(sig)
}

// NextDeadline is the Up at which TimerDue is next due, false when nothing waits.
func (m *Machine) NextDeadline(s State, now time.Duration) (time.Duration, bool) {
	next := time.Duration(-1)
	for id, c := range m.stations {
		if st := s.stations[id]; st != nil {
			next = sooner(next, st.deadline(c, now))
		}
	}
	for _, sel := range s.readers {
		next = sooner(next, sel.until)
	}
	return next, next >= 0
}

// sooner is the lesser of two times of which negative ones are never.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}
