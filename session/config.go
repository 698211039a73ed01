package session

import "time"

// Config is what a Machine knows about its site.
type Config struct {
	Billing  Billing
	Language string         // of signals that no badge has a language for
	Zone     *time.Location // of opening hours; nil is UTC
	Stations []StationConfig
	// MaxSessionsPerAccount bounds what one account runs at once; 0 does not.
	MaxSessionsPerAccount int
	// UIDForm turns a UID into what records carry; nil leaves it plain.
	UIDForm func(IDToken) string
	// NewID returns a new transactionId, never the same twice.
	NewID func() string
}

// StationConfig is one station: a washing machine, a dryer, a charging point.
type StationConfig struct {
	ID      string
	Reader  string // the reader whose taps reach it
	Kind    Service
	Private bool // only badges that name it
	Hours   Hours

	Meter      bool // energy is metered
	MeterPower bool // the meter measures power and keeps its own register: Modbus does, S0 does not
	Plug       bool // an input tells whether a plug is in

	StartTimeout time.Duration // in Preparing without draw
	DelayMax     time.Duration // in Preparing with a programmed delayed start
	StandbyPower float64       // W; more in Preparing means a delayed start
	IdlePower    float64       // W, mean over IdleFor; more means that it runs
	IdleFor      time.Duration // the sliding window
	EarliestEnd  time.Duration // of laundry, after the draw began
	MaxDuration  time.Duration // after the draw began; 0 is no limit
	DoorRelease  time.Duration // relay on after a laundry session
	RunTime      time.Duration // of laundry without a meter
	MaxPower     float64       // W; a register that runs faster has jumped; 0 is no limit
	ResumeWithin time.Duration // a session survives a power cut this long
	ResumeWait   time.Duration // charging waits this long for a clock after a power cut
}

// DefaultStation has the defaults of a kind of station, metered by pulses.
func DefaultStation(kind Service) StationConfig {
	c := StationConfig{
		Kind: kind, Meter: true,
		StartTimeout: 5 * time.Minute, DelayMax: 12 * time.Hour, StandbyPower: 1,
		IdlePower: 15, IdleFor: 8 * time.Minute,
		ResumeWithin: 15 * time.Minute, ResumeWait: 5 * time.Minute,
	}
	if kind == Charging {
		c.IdlePower, c.MaxPower, c.ResumeWithin, c.DelayMax = 50, 50_000, 4*time.Hour, time.Hour
		return c
	}
	c.EarliestEnd, c.MaxDuration, c.DoorRelease = 10*time.Minute, 6*time.Hour, 10*time.Minute
	c.MaxPower = 15_000
	return c
}

// idleBudget is the energy in the window up to which the machine counts as idle.
func (c StationConfig) idleBudget() MilliWattHours { return energy(c.IdlePower, c.IdleFor) }

// energy is what power in W draws over d.
func energy(power float64, d time.Duration) MilliWattHours {
	return MilliWattHours(power * 1000 * d.Hours())
}

// Times of the machine that no site needs to change.
const (
	deadTime        = 3 * time.Second  // after an action of a badge at a station
	startDeadTime   = 10 * time.Second // after a start
	stepTime        = 5 * time.Second  // between taps that step through stations
	selectTime      = 30 * time.Second // a button's selection waits for a badge
	testTime        = 2 * time.Second  // a technician's test
	meterSilence    = 5 * time.Minute  // without a sample the meter counts as lost
	flowCheckpoint  = time.Minute      // while energy flows in a session
	quietCheckpoint = 10 * time.Minute // in a session without flow
	idleCheckpoint  = time.Hour        // energy outside sessions
	clockUpdate     = 15 * time.Minute // Updated records of charging
	proveDraw       = 2 * time.Minute  // laundry after a power cut of unknown length
	lastReading     = 30 * time.Second // a register meter's reading for a session that a power cut ended
	faultInterval   = 10 * time.Minute // between two reports of one fault
	clockPoll       = 2 * time.Second  // while a session waits for the clock
)
