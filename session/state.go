package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is the state of all stations of a gateway: a value, never shared between
// two Steps. The zero State is a gateway that has never run; see Machine.Restore.
type State struct {
	stations map[string]*station
	readers  map[string]selection
}

// stateVersion is that of station's JSON.
const stateVersion = 1

// station is the state of one station. Its JSON is what the journal keeps; the
// other fields are learnt again after a restart.
type station struct {
	V            int            `json:"v"`
	At           Stamp          `json:"at"` // of this state
	Disabled     bool           `json:"disabled,omitempty"`
	Known        bool           `json:"known,omitempty"` // Register has been read
	Register     MilliWattHours `json:"register,omitempty"`
	ReadAt       time.Duration  `json:"readAt,omitempty"` // Up of the last reading, below 0 for one before the boot; 0 is none
	Unattributed MilliWattHours `json:"unattributed,omitempty"`
	Session      *tx            `json:"session,omitempty"`
	Release      time.Duration  `json:"release,omitempty"` // Up until which the relay stays on after laundry; 0 is not
	Ran          time.Duration  `json:"ran,omitempty"`     // Up at which the machine was last known to run; without a meter, to start
	Spent        bool           `json:"spent,omitempty"`   // a session has ended with this plug in: it chooses no station any more

	meter   meter
	plugged time.Duration // Up of the plug's coming; 0 is not plugged
	watched bool          // the plug has been heard of since the daemon started
	strayed bool          // energy in door release has been reported
	left    bool          // the relay stands as the daemon before left it, for a door release that was over
	broken  string        // what is wrong with the relay
	dead    []dead
	saved   MilliWattHours // Register as the journal has it
	told    string         // the last fault of the meter that was reported
	toldAt  time.Duration  // Up

	starting bool // a start is being written; nothing else may happen here
}

// tx is an open session.
type tx struct {
	ID       string         `json:"id"`
	UID      IDToken        `json:"uid"`
	Account  string         `json:"account,omitempty"`
	Language string         `json:"language,omitempty"`
	Kind     Service        `json:"kind"`
	List     ListPoint      `json:"list"`
	Phase    Phase          `json:"phase"`
	NextSeq  int            `json:"nextSeq"`
	Start    MilliWattHours `json:"start"` // register at Started
	Now      MilliWattHours `json:"now"`   // Start and all energy since
	Before   time.Duration  `json:"before,omitempty"`
	Since    time.Duration  `json:"since"`              // Up from which time counts on top of Before
	Drawing  time.Duration  `json:"drawing,omitempty"`  // age at which InUse began
	LastDraw time.Duration  `json:"lastDraw,omitempty"` // age of the last draw above standby
	Deauth   bool           `json:"deauth,omitempty"`   // blocked in mid-cycle
	Test     bool           `json:"test,omitempty"`     // a technician's
	Review   []Review       `json:"review,omitempty"`   //
	Recovery *recovery      `json:"recovery,omitempty"` // after a power cut
	clockAt  time.Duration  // Up of the next MeterClock update
}

// recovery is a session whose board was off for a time not yet known, or known
// to be too long.
type recovery struct {
	Cut   Stamp         `json:"cut"`   // the last sign of life before
	Until time.Duration `json:"until"` // Up at which it ends
	Over  bool          `json:"over"`  // off too long: only the last reading is waited for
	poll  time.Duration // Up of the next look at the clock
}

// dead keeps a badge from acting again at once.
type dead struct {
	uid   IDToken
	until time.Duration
}

// selection is what a reader's next tap or time-out acts on.
type selection struct {
	station string
	until   time.Duration
	tap     *BadgeTapped // whose taps step; nil when a button selected
}

func (s State) clone() State {
	c := State{maps.Clone(s.stations), maps.Clone(s.readers)}
	if c.stations == nil {
		c.stations = make(map[string]*station)
	}
	if c.readers == nil {
		c.readers = make(map[string]selection)
	}
	for id, st := range c.stations {
		c.stations[id] = st.clone()
	}
	return c
}

func (s *station) clone() *station {
	c := *s
	c.dead = slices.Clone(s.dead)
	if s.Session != nil {
		t := *s.Session
		t.Review = slices.Clone(t.Review)
		if t.Recovery != nil {
			r := *t.Recovery
			t.Recovery = &r
		}
		c.Session = &t
	}
	return &c
}

// hold freezes a station and its reader while a start is being written.
func (s State) hold(id, reader string, on bool) State {
	c := s.clone()
	c.stations[id].starting = on
	delete(c.readers, reader)
	return c
}

// adopt takes the station and reader of a start that has been written.
func (s State) adopt(from State, id, reader string) State {
	c := s.clone()
	c.stations[id] = from.stations[id].clone()
	delete(c.readers, reader)
	return c
}

// Relay tells whether a station's relay is to be on.
func (s State) Relay(id string) bool {
	st, ok := s.stations[id]
	return ok && st.relay()
}

// leaves tells whether a station's relay is to stand as the daemon before this one
// left it, on or fallen, until somebody can tell whether a machine runs on it.
func (s State) leaves(id string) bool {
	st, ok := s.stations[id]
	return ok && st.left && st.Release > 0
}

func (s *station) relay() bool {
	if s.broken != "" {
		return false
	}
	if s.Release > 0 {
		return true
	}
	t := s.Session
	return t != nil && (t.Recovery == nil || t.Kind == Laundry && !t.Recovery.Over)
}

// phase is the row of the policy table that holds.
func (s *station) phase(c StationConfig) Phase {
	switch {
	case s.Session != nil:
		return s.Session.Phase
	case s.Disabled:
		return PhaseUnavailable
	case s.broken != "" || c.Meter && !s.meter.alive:
		return PhaseFaulted
	}
	return PhaseAvailable
}

// age is how long the session has been open, without the time that the board was off.
func (t *tx) age(up time.Duration) time.Duration { return t.Before + max(0, up-t.Since) }

// unsure tells that the register was seen to be wrong, or too low.
func (t *tx) unsure() bool {
	return slices.Contains(t.Review, ReviewMeterBackward) || slices.Contains(t.Review, ReviewMeterDoubt)
}

// mark adds a review mark and tells whether it is new.
func (t *tx) mark(r Review) bool {
	if slices.Contains(t.Review, r) {
		return false
	}
	t.Review = append(t.Review, r)
	return true
}

func (s *station) encode() []byte {
	s.V = stateVersion
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

func decodeStation(b []byte) (*station, error) {
	var s station
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if s.V != stateVersion {
		return nil, fmt.Errorf("decode state: version %d, want %d", s.V, stateVersion)
	}
	return &s, nil
}
