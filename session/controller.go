package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Deps is what a Controller works with. Offline, Panel, Observe, Changed, Ready
// and Alive may be nil. The functions are called from the Controller's goroutine
// and must not block.
type Deps struct {
	List    List
	Journal Journal
	Power   map[string]Power // by station id
	Panel   Panel
	Clock   func() Stamp
	Offline func() bool // the broker is out of reach
	Log     *slog.Logger

	Observe func(Decision) // every decision, once it stands
	Changed func()         // a station's status may have changed
	Ready   func()         // once, when the relays are driven
	Alive   func()         // at least every aliveInterval while the loop turns
}

// Times and bounds of the Controller.
const (
	eventQueue    = 256
	aliveInterval = 5 * time.Second
	lookupTimeout = 2 * time.Second
	firstRetry    = 100 * time.Millisecond
	lastRetry     = 30 * time.Second
	relayRetry    = time.Second
	recheckRetry  = 10 * time.Second // while the list cannot be read
	flushTimeout  = 5 * time.Second
)

// Controller owns the Machine of a gateway and turns its outcomes into relays,
// journal and panel. Its methods are safe for concurrent use; those that report
// an event wait while the event queue is full and do nothing after Run returned.
type Controller struct {
	m       *Machine
	d       Deps
	events  chan item
	recheck chan struct{}
	done    chan struct{}
	listGen atomic.Uint64 // counts changes of the list
	state   atomic.Pointer[State]
	writing atomic.Int64 // Up at which the present commit began; 0 is none
}

// item is an event on its way to the loop.
type item struct {
	event Event
	gen   uint64 // listGen before the list was asked
	reply chan Decision
}

// NewController returns a Controller that does nothing before Run.
func NewController(cfg Config, d Deps) *Controller {
	c := &Controller{
		m: NewMachine(cfg), d: d, events: make(chan item, eventQueue),
		recheck: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if d.Offline == nil {
		c.d.Offline = func() bool { return false }
	}
	if d.Observe == nil {
		c.d.Observe = func(Decision) {}
	}
	if d.Log == nil {
		c.d.Log = slog.New(slog.DiscardHandler)
	}
	for _, f := range []*func(){&c.d.Changed, &c.d.Ready, &c.d.Alive} {
		if *f == nil {
			*f = func() {}
		}
	}
	c.state.Store(&State{})
	return c
}

// Tap reports an admissible badge at a reader. It asks the list in the caller's
// goroutine, so that a slow list delays nothing else.
func (c *Controller) Tap(reader string, uid IDToken, card Card) {
	if c.d.Panel != nil {
		c.d.Panel.Show(Signal{Name: SignalProcessing, Reader: reader})
	}
	gen := c.listGen.Load()
	l, err := c.lookup(uid)
	c.post(item{event: BadgeTapped{reader, uid, card, l, err}, gen: gen})
}

// Refuse reports a card that is no badge, with the reason of package mifare. uid
// may be empty.
func (c *Controller) Refuse(reader string, uid IDToken, reason Reason, card Card) {
	c.post(item{event: CardRefused{reader, uid, reason, card}})
}

// Press reports a select button: see ButtonPressed.
func (c *Controller) Press(reader, station string) {
	c.post(item{event: ButtonPressed{reader, station}})
}

// Meter reports a reading, or with Sample.Lost that there is none. A meter is to
// be reported at least every two minutes, changed or not, and once at the start:
// a station whose meter has not been heard of takes no sessions.
func (c *Controller) Meter(station string, s Sample) { c.post(item{event: MeterRead{station, s}}) }

// Plug reports the state of a plug, once at the start and at every change.
func (c *Controller) Plug(station string, in bool) { c.post(item{event: PlugChanged{station, in}}) }

// ListChanged has the badges of all open sessions looked up again. It returns at once.
func (c *Controller) ListChanged() {
	c.listGen.Add(1)
	select {
	case c.recheck <- struct{}{}:
	default:
	}
}

// Command carries out an order and returns the decision about it; uid counts for
// a start only. An error means that nobody decided.
func (c *Controller) Command(ctx context.Context, name CommandName, station string, uid IDToken) (Decision, error) {
	e := Commanded{Name: name, Station: station, UID: uid}
	gen := c.listGen.Load()
	switch name {
	case CommandStart:
		e.Listing, e.Err = c.lookup(uid)
	case CommandStop, CommandEnable, CommandDisable, CommandTest:
	default:
		return Decision{}, fmt.Errorf("command %q: unknown, want start, stop, enable, disable or test", name)
	}
	it := item{event: e, gen: gen, reply: make(chan Decision, 1)}
	c.post(it)
	select {
	case d := <-it.reply:
		return d, nil
	case <-c.done:
		return Decision{}, errors.New("command: the gateway is stopping")
	case <-ctx.Done():
		return Decision{}, fmt.Errorf("command %s: %w", name, ctx.Err())
	}
}

// Record has a record of somebody else's written to the ledger, after what has
// happened before.
func (c *Controller) Record(r Record) { c.post(item{event: noted{r}}) }

type noted struct{ record Record }

func (e noted) apply(s *step) { s.out.Commit.Records = append(s.out.Commit.Records, e.record) }

// Writing is for how long the journal has been at its present commit, 0 if it is
// at none. A disk that hangs shows here, while relays and taps go on.
func (c *Controller) Writing() time.Duration {
	since := time.Duration(c.writing.Load())
	if since == 0 {
		return 0
	}
	return c.d.Clock().Up - since
}

// Status describes all stations as they are now, in the order of the config.
func (c *Controller) Status() []StationStatus {
	return c.m.Status(*c.state.Load(), c.d.Clock().Up)
}

func (c *Controller) lookup(uid IDToken) (Listing, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	return c.d.List.Lookup(ctx, uid)
}

func (c *Controller) post(it item) {
	select {
	case <-c.done:
	case c.events <- it:
	}
}

// Run restores what the journal has, drives the relays, and decides until ctx
// ends; then it writes what is still to be written and returns nil. It leaves
// the relays as they are. An error means that the journal cannot be read or that
// something could not be written at the end.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.done)
	states, err := c.d.Journal.States(ctx)
	if err != nil {
		return fmt.Errorf("restore sessions: %w", err)
	}
	l := newLoop(c)
	l.restore(states)
	c.d.Ready()
	c.ListChanged()

	// The writer outlives ctx, for what is left to be written at the end.
	sub, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go l.write(sub)
	go c.recheckAll(sub)
	return l.run(ctx)
}

// recheckAll looks the badges of open sessions up again whenever the list changed,
// and until it could be read.
func (c *Controller) recheckAll(ctx context.Context) {
	var retry <-chan time.Time
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.recheck:
		case <-retry:
		}
		retry = nil
		err := c.recheckOnce()
		if err == nil {
			said = ""
			continue
		}
		retry = time.After(recheckRetry)
		if err.Error() != said {
			said = err.Error()
			c.d.Log.Error("list not read again for open sessions, retrying", "err", err)
		}
	}
}

func (c *Controller) recheckOnce() (failed error) {
	for id, st := range c.state.Load().stations {
		if st.Session == nil || st.Session.UID == "" {
			continue
		}
		uid := st.Session.UID
		l, err := c.lookup(uid)
		if err != nil {
			failed = err
			continue
		}
		c.post(item{event: ListingChanged{id, uid, l}})
	}
	return failed
}
