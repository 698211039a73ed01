package station

import (
	"context"
	"errors"
	"sync"
	"time"

	"badged/session"
)

const (
	// sign is how long one sign of a cue lasts.
	sign = 100 * time.Millisecond
	// minShown is what a signal gets before the next one in the queue.
	minShown = time.Second
	// textShown is how long a text stays for people to read.
	textShown = 4 * time.Second
	// panelQueue is how many signals wait; of more, the oldest go.
	panelQueue = 4
	// processingAfter is how long an answer may take before people are told that
	// it is on its way, and processingFor for how long they are told.
	processingAfter = 300 * time.Millisecond
	processingFor   = 10 * time.Second
)

// Screen shows a line of text, replacing what was there. It may take its time.
type Screen interface {
	Show(text string) error
}

// PanelOpts has the parts of a panel; each may be missing.
type PanelOpts struct {
	Green, Red, Buzzer Output
	Screen             Screen
	// Language is for signals without one.
	Language string
	// Fault is called from Run when outputs or screen cease to work, and with
	// nil when they work again.
	Fault func(error)
}

// Panel shows signals to the people at a reader by light, sound and text: each
// for a moment, and in between whether the gateway is Ready, Offline or has a
// Fault.
type Panel struct {
	o    PanelOpts
	wake chan struct{}

	// Only Run uses these.
	text                        string // on the screen
	outputsBroken, screenBroken bool   // at the last try

	mu    sync.Mutex
	idle  session.Signal
	queue []session.Signal
}

var _ session.Panel = (*Panel)(nil)

// NewPanel returns a panel; Run plays what Show is told.
func NewPanel(o PanelOpts) *Panel {
	return &Panel{o: o, wake: make(chan struct{}, 1), idle: session.Signal{Name: session.SignalReady}}
}

// Show puts s in the queue; Ready, Offline and Fault are what is shown between
// signals from now on. It never blocks and is safe for concurrent use.
func (p *Panel) Show(s session.Signal) {
	if s.Language == "" {
		s.Language = p.o.Language
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.Name {
	case session.SignalReady, session.SignalOffline, session.SignalFault:
		if p.idle == s {
			return
		}
		p.idle = s
	default:
		if n := len(p.queue); n > 0 && p.queue[n-1].Name == session.SignalProcessing {
			p.queue = p.queue[:n-1] // its answer is this one
		}
		if len(p.queue) == panelQueue {
			p.queue = p.queue[1:]
		}
		p.queue = append(p.queue, s)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run shows signals until ctx ends, and then leaves the panel dark.
func (p *Panel) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, queued := p.next()
		cue, _ := Lookup(s)
		if !queued {
			p.play(ctx, cue, 0, func() bool { return true })
			continue
		}
		if s.Name == session.SignalProcessing {
			p.process(ctx, cue)
			continue
		}
		start := time.Now()
		p.play(ctx, cue, minShown, p.pending)
		p.wait(ctx, textShown-time.Since(start), 0, p.pending)
	}
	p.drive(frame{})
	return nil
}

// process shows that an answer is on its way, if it takes long, until it is there.
func (p *Panel) process(ctx context.Context, c Cue) {
	if !p.wait(ctx, processingAfter, 0, p.pending) {
		return
	}
	for end := time.Now().Add(processingFor); ctx.Err() == nil && !p.pending() && time.Now().Before(end); {
		p.play(ctx, c, 0, p.pending)
	}
}

// next takes the oldest signal of the queue; without one, the idle signal.
func (p *Panel) next() (s session.Signal, queued bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		s = p.idle
		if s.Language == "" {
			s.Language = p.o.Language
		}
		return s, false
	}
	s, p.queue = p.queue[0], p.queue[1:]
	return s, true
}

// pending tells whether signals wait in the queue.
func (p *Panel) pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) > 0
}

// play shows a cue once. When Show was called and cut agrees, it is cut short,
// though not before least.
func (p *Panel) play(ctx context.Context, c Cue, least time.Duration, cut func() bool) {
	steps := parseCue(c)
	p.drive(steps[0].frame) // light and sound are there at once, the screen is slow
	p.show(c.Text)
	for _, s := range steps {
		p.drive(s.frame)
		if !p.wait(ctx, s.d, least, cut) {
			break
		}
		least -= s.d
	}
	p.drive(frame{})
}

// wait returns true after d, and false when ctx ends or the cue is to be cut.
func (p *Panel) wait(ctx context.Context, d, least time.Duration, cut func() bool) bool {
	if d <= 0 {
		return true
	}
	end, early := time.After(d), time.After(max(least, 0))
	var wake <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-end:
			return true
		case <-early:
			if wake = p.wake; p.pending() {
				return false
			}
		case <-wake:
			if cut() {
				return false
			}
		}
	}
}

// frame is what is on at one moment.
type frame struct{ green, red, buzzer bool }

type step struct {
	frame
	d time.Duration
}

// parseCue turns signs into steps, so that the panel sleeps while nothing
// changes. There is always one.
func parseCue(c Cue) []step {
	var steps []step
	for i := range max(len(c.Light), len(c.Sound), 1) {
		l, s := at(c.Light, i), at(c.Sound, i)
		f := frame{green: l == 'G' || l == 'Y', red: l == 'R' || l == 'Y', buzzer: s == '#'}
		if n := len(steps); n > 0 && steps[n-1].frame == f {
			steps[n-1].d += sign
			continue
		}
		steps = append(steps, step{f, sign})
	}
	return steps
}

func at(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return '.'
}

// drive sets the outputs, all of them even if one fails.
func (p *Panel) drive(f frame) {
	p.check(&p.outputsBroken, errors.Join(set(p.o.Green, f.green), set(p.o.Red, f.red), set(p.o.Buzzer, f.buzzer)))
}

func set(o Output, on bool) error {
	if o == nil {
		return nil
	}
	return o.Set(on)
}

// show puts text on the screen unless it is there.
func (p *Panel) show(text string) {
	if p.o.Screen == nil || text == p.text {
		return
	}
	err := p.o.Screen.Show(text)
	if p.text = text; err != nil {
		p.text = "" // again with the next cue
	}
	p.check(&p.screenBroken, err)
}

// check reports a part that ceased to work, or works again.
func (p *Panel) check(broken *bool, err error) {
	if *broken == (err != nil) {
		return
	}
	*broken = err != nil
	if p.o.Fault != nil {
		p.o.Fault(err)
	}
}
