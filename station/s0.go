package station

import (
	"context"
	"errors"
	"fmt"
	"time"

	"badged/session"
)

// Sample is what a meter says at one moment.
type Sample struct {
	// Register counts up from wherever it began.
	Register session.MilliWattHours
	PowerW   float64 // meaningless unless HasPower
	HasPower bool
	// Err is set when the meter cannot be read; Register is then the last known.
	Err error
	// Doubt is set when the meter is heard but pulses may be missing: Register
	// counts on, and may be too low.
	Doubt error
}

const (
	// minPulse separates a pulse and its pause, 30 ms at least (IEC 62053-31),
	// from the bouncing of a contact.
	minPulse = 20 * time.Millisecond
	// maxPulse is far beyond any S0 pulse: a line that stays active is wired
	// upside down or shorted.
	maxPulse = 10 * time.Second
	// maxBounces is how many edges too short may come between two alive samples.
	maxBounces = 100
)

// S0Opts says what an S0 input counts.
type S0Opts struct {
	PulsesPerKWh int
	Start        session.MilliWattHours // the register goes on from here
	Alive        time.Duration          // between samples while nothing is counted
}

// DefaultS0Opts is the commonest meter, heard of every 10 s.
var DefaultS0Opts = S0Opts{PulsesPerKWh: 1000, Alive: 10 * time.Second}

// S0 counts the pulses of a meter's S0 output (IEC 62053-31).
type S0 struct {
	in    Input
	o     S0Opts
	count pulses
}

// NewS0 returns a meter on in; Run counts.
func NewS0(in Input, o S0Opts) (*S0, error) {
	if o.PulsesPerKWh < 1 || o.PulsesPerKWh > 1_000_000 {
		return nil, fmt.Errorf("S0 meter with %d pulses per kWh: want 1 to 1000000, the number on its plate", o.PulsesPerKWh)
	}
	if o.Alive <= 0 {
		return nil, fmt.Errorf("S0 meter heard of every %s: want a time above 0", o.Alive)
	}
	return &S0{in: in, o: o}, nil
}

// Run calls emit at each pulse, and every Alive with the same register: silence
// of a pulse output means no draw, and only a look at the line tells that it is
// there. It returns nil when ctx ends, and an error when the line fails.
func (m *S0) Run(ctx context.Context, emit func(Sample)) error {
	ctx, stop := context.WithCancel(ctx)
	edges, failed := make(chan Edge), make(chan error, 1)
	defer func() { stop(); <-failed }()
	go func() {
		defer close(failed)
		failed <- m.in.Edges(ctx, func(e Edge) {
			select {
			case edges <- e:
			case <-ctx.Done():
			}
		})
	}()
	alive := time.NewTicker(m.o.Alive)
	defer alive.Stop()
	emit(m.look())
	for {
		select {
		case e := <-edges:
			m.edge(e, emit)
		case <-alive.C:
			emit(m.look())
		case err := <-failed:
			if err != nil {
				emit(Sample{Register: m.register(), Err: err})
			}
			return err
		}
	}
}

func (m *S0) edge(e Edge, emit func(Sample)) {
	before := m.count.n
	lost := m.count.feed(e)
	if lost > 0 {
		s := m.sample()
		s.Doubt = fmt.Errorf("S0 input lost %d edges: pulses may be missing; the board was too busy, or the line chatters", lost)
		emit(s)
		return
	}
	if m.count.n > before {
		emit(m.sample())
	}
}

// look is the sample of a moment without a pulse.
func (m *S0) look() Sample {
	s := m.sample()
	active, err := m.in.Active()
	if err != nil {
		s.Err = fmt.Errorf("read S0 input: %w", err)
		return s
	}
	s.Doubt, s.Err = m.count.complain(active, m.o.Alive)
	return s
}

func (m *S0) sample() Sample { return Sample{Register: m.register()} }

func (m *S0) register() session.MilliWattHours {
	const perKWh = 1_000_000
	return m.o.Start + session.MilliWattHours(m.count.n*perKWh/int64(m.o.PulsesPerKWh))
}

// pulses counts what lasts long enough on a line whose contact bounces.
type pulses struct {
	n       int64
	level   bool // as the last edge left it
	since   time.Duration
	settled bool // the level that has lasted minPulse at last
	seq     uint32
	bounces int
	looks   int // looks in a row that found the line active, without an edge
}

// feed takes an edge and returns how many were lost before it. What was there
// since the edge before is settled if it lasted; a pulse is counted when its
// active level is, so at its end.
func (p *pulses) feed(e Edge) (lost uint32) {
	if p.seq != 0 {
		lost = e.Seq - p.seq - 1
		switch held := e.At - p.since; {
		case lost > 0: // anything may have been in between; count nothing
			p.settled = !e.Active
		case held < minPulse:
			p.bounces++
		case p.level != p.settled:
			p.settled = p.level
			if p.level {
				p.n++
			}
		}
	}
	p.seq, p.level, p.since, p.looks = e.Seq, e.Active, e.At, 0
	return lost
}

// complain says what is wrong with a line that was looked at, if anything: doubt
// where pulses may be missing, err where none can come.
func (p *pulses) complain(active bool, every time.Duration) (doubt, err error) {
	bounces := p.bounces
	p.bounces = 0
	if p.looks++; !active {
		p.looks = 0
	}
	switch {
	case bounces > maxBounces:
		return fmt.Errorf("S0 input chatters: %d edges shorter than %s in %s: check its pull-up and RC filter", bounces, minPulse, every), nil
	case time.Duration(p.looks-1)*every >= maxPulse:
		return nil, errors.New("S0 input is always active: it is shorted, or the configured polarity is wrong")
	}
	return nil, nil
}
