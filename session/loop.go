package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// loop is the Controller's one goroutine and all that only it touches.
type loop struct {
	c       *Controller
	state   State
	relays  map[string]*relay
	journal journal
	start   *tentative // a start that is being written
	held    []item     // waits for the start
}

// tentative is a start that has not been written yet.
type tentative struct {
	next State
	out  Outcome
	item item
}

// relay is what a station's contact was last told.
type relay struct {
	on, known bool
	offFailed bool          // could not be opened
	retry     time.Duration // Up of the next attempt
}

// maxHeld bounds what waits for a start that is being written.
const maxHeld = 64

func newLoop(c *Controller) *loop {
	l := &loop{c: c, relays: make(map[string]*relay), journal: newJournal()}
	for id := range c.m.stations {
		l.relays[id] = &relay{}
	}
	return l
}

func (l *loop) now() Moment {
	return Moment{l.c.d.Clock(), l.c.d.Offline(), l.journal.failing()}
}

func (l *loop) restore(states map[string][]byte) {
	next, out := l.c.m.Restore(states, l.now())
	l.adopt(next, out, item{})
}

// run turns until ctx ends. Between two turns nothing waits for the disk.
func (l *loop) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.c.d.Alive()
		l.due()
		timer.Reset(l.wait())
		select {
		case <-ctx.Done():
			return l.flush()
		case it := <-l.c.events:
			l.due()
			l.handle(it)
		case err := <-l.journal.results:
			l.written(err)
		case <-timer.C:
		}
	}
}

// due does all that time alone brings about.
func (l *loop) due() {
	for {
		now := l.now()
		at, ok := l.c.m.NextDeadline(l.state, now.Up)
		if !ok || at > now.Up || l.start != nil && l.onlySelections(now.Up) {
			break
		}
		l.step(item{event: TimerDue{}})
	}
	l.drive()
	l.pump()
}

// onlySelections tells whether nothing but starts are due, which have to wait
// for the one that is being written.
func (l *loop) onlySelections(now time.Duration) bool {
	at, ok := l.c.m.NextDeadline(State{stations: l.state.stations}, now)
	return !ok || at > now
}

// wait is the time until something is due.
func (l *loop) wait() time.Duration {
	now := l.c.d.Clock().Up
	next := now + aliveInterval
	s := l.state
	if l.start != nil {
		s = State{stations: s.stations}
	}
	if at, ok := l.c.m.NextDeadline(s, now); ok {
		next = min(next, at)
	}
	if l.journal.failing() && !l.journal.writing {
		next = min(next, l.journal.retry)
	}
	for _, r := range l.relays {
		if r.retry > now {
			next = min(next, r.retry)
		}
	}
	return max(0, next-now)
}

// handle steps an event, or keeps it until the start at its station is written.
func (l *loop) handle(it item) {
	if l.start == nil || !l.concerns(it.event) {
		l.step(it)
		return
	}
	l.hold(it)
}

// concerns tells whether an event belongs to the station that is starting.
func (l *loop) concerns(e Event) bool {
	station, reader := l.start.out.Station, l.start.out.Reader
	switch e := e.(type) {
	case BadgeTapped:
		return e.Reader == reader
	case ButtonPressed:
		return e.Reader == reader
	case MeterRead:
		return e.Station == station
	case PlugChanged:
		return e.Station == station
	case ListingChanged:
		return e.Station == station
	case Commanded:
		return e.Station == station
	}
	return false
}

// hold keeps only the last reading of a meter, and drops taps beyond maxHeld.
func (l *loop) hold(it item) {
	if m, ok := it.event.(MeterRead); ok {
		l.held = slices.DeleteFunc(l.held, func(h item) bool {
			old, ok := h.event.(MeterRead)
			return ok && old.Station == m.Station
		})
	}
	if len(l.held) < maxHeld {
		l.held = append(l.held, it)
		return
	}
	l.c.d.Log.Error("event dropped, the disk is too slow", "event", fmt.Sprintf("%T", it.event))
}

// step tries an event. A start waits for the disk; everything else has happened.
func (l *loop) step(it item) {
	next, out := l.c.m.Step(l.state, l.now(), it.event)
	switch {
	case !out.Starts:
		l.adopt(next, out, it)
	case l.start != nil:
		l.hold(it)
	case l.journal.failing():
		l.refuse(out, it, l.journal.why)
	default:
		l.start = &tentative{next, out, it}
		l.state = l.state.hold(out.Station, out.Reader, true)
		l.pump()
	}
}

// adopt makes a step real: relays first, then the journal, then the people.
func (l *loop) adopt(next State, out Outcome, it item) {
	l.state = next
	l.drive()
	l.journal.add(out.Commit)
	l.publish(out, it)
	l.pump()
}

func (l *loop) publish(out Outcome, it item) {
	s := l.state
	l.c.state.Store(&s)
	for _, f := range out.Faults {
		l.c.d.Log.Error("fault noticed", "what", f)
	}
	for _, r := range out.Commit.Records {
		if e, ok := r.(TransactionEvent); ok {
			l.c.d.Log.Info("session "+string(e.EventType), "station", e.Station, "transaction", e.TransactionID,
				"trigger", e.TriggerReason, "reason", e.StoppedReason, "energy_wh", e.Energy)
		}
	}
	for _, sig := range out.Signals {
		if l.c.d.Panel != nil {
			l.c.d.Panel.Show(sig)
		}
	}
	for _, d := range out.Decisions {
		l.c.d.Observe(d)
		if it.reply != nil {
			it.reply <- d
			it.reply = nil
		}
	}
	l.c.d.Changed()
}

// refuse tells that a start came to nothing: it could not be written, or the
// relay did not close.
func (l *loop) refuse(out Outcome, it item, why Reason) {
	told := Outcome{}
	for _, d := range out.Decisions {
		d.Status, d.Reason, d.Action, d.TransactionID = why.Status(), why, ActionNone, ""
		told.Decisions = append(told.Decisions, d)
		told.Signals = append(told.Signals, Signal{
			Name: SignalRefused, Reason: why, Reader: out.Reader, Station: d.Station, Language: out.language(),
		})
	}
	l.state = l.state.hold(out.Station, out.Reader, false)
	l.publish(told, it)
}

func (o Outcome) language() string {
	for _, s := range o.Signals {
		return s.Language
	}
	return ""
}

// pump gives the writer its next work: what has happened before what might.
func (l *loop) pump() {
	j := &l.journal
	switch now := l.c.d.Clock().Up; {
	case j.writing || j.failing() && now < j.retry:
	case !j.pending.Empty():
		j.send(j.take())
	case j.failing(): // all that was left was telemetry that had no room
		j.succeed()
		l.pump()
	case l.start != nil:
		j.start = true
		j.send(l.start.out.Commit)
	}
}

// written deals with the writer's answer.
func (l *loop) written(err error) {
	j := &l.journal
	j.writing = false
	isStart := j.start
	j.start = false
	switch {
	case isStart:
		l.started(err)
	case err == nil:
		j.succeed()
	default:
		l.c.d.Log.Error("journal not written, retrying", "err", err)
		j.fail(l.c.d.Clock().Up, err)
		if l.start != nil {
			l.started(err)
		}
	}
	l.pump()
}

// started makes a start real, or refuses it, and lets in what waited for it.
func (l *loop) started(err error) {
	t := l.start
	l.start = nil
	switch {
	case err == nil:
		l.state = l.state.adopt(t.next, t.out.Station, t.out.Reader)
		l.drive()
		if !l.state.Relay(t.out.Station) {
			// The relay does not obey: the session has ended already.
			l.refuse(t.out, t.item, StationFaulted)
			break
		}
		l.publish(t.out, t.item)
		if t.item.gen != l.c.listGen.Load() {
			l.c.ListChanged()
		}
	case errors.Is(err, ErrFull):
		l.refuse(t.out, t.item, StorageFull)
	default:
		l.c.d.Log.Error("start not written", "station", t.out.Station, "err", err)
		l.refuse(t.out, t.item, StorageFault)
	}
	held := l.held
	l.held = nil
	for _, it := range held {
		l.handle(it)
	}
}

// drive brings every relay to where the state wants it. What fails is told to
// the machine and tried again.
func (l *loop) drive() {
	for _, id := range slices.Sorted(maps.Keys(l.relays)) {
		r, want, now := l.relays[id], l.state.Relay(id), l.c.d.Clock().Up
		if r.known && r.on == want || now < r.retry && r.on == want || !r.known && l.state.leaves(id) {
			continue
		}
		if err := l.set(id, want); err != nil {
			l.broke(id, r, want, err)
			continue
		}
		r.on, r.known, r.retry = want, true, 0
		if r.offFailed && !want {
			r.offFailed = false
			l.step(item{event: RelayFailed{Station: id}})
		}
	}
}

func (l *loop) set(id string, on bool) error {
	p := l.c.d.Power[id]
	if p == nil {
		return errors.New("no relay is wired to this station")
	}
	return p.Set(on)
}

func (l *loop) broke(id string, r *relay, want bool, err error) {
	r.on, r.known, r.retry = want, false, l.c.d.Clock().Up+relayRetry
	r.offFailed = r.offFailed || !want
	l.step(item{event: RelayFailed{id, want, err.Error()}})
}

// flush writes what is left when the daemon stops.
func (l *loop) flush() error {
	l.step(item{event: stopping{}})
	l.journal.retry = 0
	l.pump()
	limit := time.NewTimer(flushTimeout)
	defer limit.Stop()
	for l.journal.writing || !l.journal.pending.Empty() {
		select {
		case err := <-l.journal.results:
			starting, isStart := l.start != nil, l.journal.start
			l.written(err)
			if starting && l.start == nil {
				l.step(item{event: stopping{}})
			}
			if err != nil && !isStart { // a start that was not written was refused
				return fmt.Errorf("write sessions before stopping: %w", err)
			}
		case <-limit.C:
			return errors.New("write sessions before stopping: the disk does not answer")
		}
	}
	return nil
}

// write is the writer's goroutine: the only caller of Journal.Commit.
func (l *loop) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-l.journal.work:
			l.c.writing.Store(max(1, int64(l.c.d.Clock().Up)))
			err := l.c.d.Journal.Commit(context.WithoutCancel(ctx), c)
			l.c.writing.Store(0)
			l.journal.results <- err
		}
	}
}
