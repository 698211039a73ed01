package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"badged/session"
)

const (
	window     = 8                // topics subscribed at a time; AWS IoT Core takes no more in one packet
	patience   = 30 * time.Second // without a piece that counts
	stallTries = 2                // subscribing again, before another way is tried

	// Times that go with patience, in multiples of it.
	headInterval = 120 // after which the head is asked for again: an hour
	retryBase    = 2   // before what failed is tried again: up to a minute
	retryCap     = 120 // then up to an hour
	retryLeast   = 30  // at least so much less than patience: a second
)

// subscriber is a connection, as far as the list needs one.
type subscriber interface {
	Subscribe(ctx context.Context, topics ...string) error
	Unsubscribe(ctx context.Context, topics ...string) error
}

// listSync brings the list in the store to the newest head. One goroutine feeds
// it with messages and with time. Its methods return an error only when the
// connection does not work; what is wrong with a message or with the store is
// reported, and tried again.
type listSync struct {
	topics  ListTopics
	keys    *keyring
	store   ListStore
	ratchet Ratchet
	report  func(ListEvent)
	now     func() time.Time
	// patience is how long a piece may take.
	patience time.Duration

	net     subscriber
	known   bool // inForce and highest were read
	inForce session.ListVersion
	highest session.ListVersion // the highest head ever seen, as the ratchet has it
	head    Head                // the newest accepted in this run; Version 0 before
	state   ListState

	way      way      // nil while there is nothing to fetch
	batch    []string // topics subscribed for it
	progress time.Time
	stalls   int
	noDeltas bool // the deltas to head led nowhere
	noWhole  bool // its snapshot led nowhere
	failures int
	retryAt  time.Time // zero unless incomplete
	askAt    time.Time // when to ask for the head again
}

// connected starts on a new connection: the broker knows of no subscription.
func (s *listSync) connected(ctx context.Context, net subscriber) error {
	s.net, s.way, s.batch = net, nil, nil
	s.noDeltas, s.noWhole, s.retryAt = false, false, time.Time{}
	if err := s.ask(ctx); err != nil {
		return err
	}
	return s.plan(ctx)
}

// lost begins from what the store has now: its file was lost while it was in use.
func (s *listSync) lost(ctx context.Context) error {
	s.known, s.noDeltas, s.noWhole, s.retryAt, s.failures = false, false, false, time.Time{}, 0
	if err := s.leave(ctx); err != nil {
		return err
	}
	return s.plan(ctx)
}

// ask has the broker send the retained head again.
func (s *listSync) ask(ctx context.Context) error {
	s.askAt = s.now().Add(headInterval * s.patience)
	s.state.Keys = s.keys.at()
	if s.keys.rooted() { // first: the head may be by a new key
		if err := s.net.Subscribe(ctx, s.topics.Keys()); err != nil {
			return err
		}
	}
	return s.net.Subscribe(ctx, s.topics.Head())
}

// message takes any message of the list.
func (s *listSync) message(ctx context.Context, topic string, payload []byte) error {
	switch {
	case len(payload) == 0:
		return nil // a retained message was cleared
	case topic == s.topics.Head():
		return s.newHead(ctx, payload)
	case topic == s.topics.Keys():
		return s.newKeys(ctx, payload)
	case s.way == nil || !slices.Contains(s.missing(), topic):
		return nil // late, or again, or never asked for
	}
	switch err := s.way.take(ctx, topic, payload); {
	case errors.Is(err, errPiece):
		s.refuse(err)
		return nil
	case err != nil:
		return s.deadEnd(ctx, err)
	}
	s.progress, s.stalls = s.now(), 0
	return s.advance(ctx)
}

// missing is what was asked for and did not come yet.
func (s *listSync) missing() []string {
	wanted := s.way.wanted(window)
	return slices.DeleteFunc(slices.Clone(s.batch), func(t string) bool { return !slices.Contains(wanted, t) })
}

// tick does what is due; next says when it should come.
func (s *listSync) tick(ctx context.Context) error {
	now := s.now()
	switch {
	case !now.Before(s.askAt):
		return s.ask(ctx)
	case !s.retryAt.IsZero() && !now.Before(s.retryAt):
		s.noDeltas, s.noWhole, s.retryAt = false, false, time.Time{}
		if err := s.ask(ctx); err != nil {
			return err
		}
		return s.plan(ctx)
	case s.way != nil && now.Sub(s.progress) >= s.patience:
		return s.stalled(ctx)
	}
	return nil
}

func (s *listSync) next() time.Time {
	at := s.askAt
	if !s.retryAt.IsZero() && s.retryAt.Before(at) {
		at = s.retryAt
	}
	if due := s.progress.Add(s.patience); s.way != nil && due.Before(at) {
		at = due
	}
	return at
}

func (s *listSync) stalled(ctx context.Context) error {
	if s.stalls++; s.stalls > stallTries {
		return s.deadEnd(ctx, fmt.Errorf("broker does not have %s", s.missing()[0]))
	}
	s.progress = s.now()
	missing := s.missing()
	if err := s.net.Unsubscribe(ctx, missing...); err != nil {
		return err
	}
	return s.net.Subscribe(ctx, missing...)
}

func (s *listSync) refuse(err error) {
	s.state.Refused++
	if text := err.Error(); text != s.state.Last {
		s.state.Last = text
		s.report(ListEvent{ListRefused, s.inForce, err})
	}
}

// plan takes the shortest way to the head that has not failed.
func (s *listSync) plan(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return s.unkept(ctx, err)
	}
	switch {
	case s.head.Version == 0 && s.inForce.Version == 0:
		s.state.State = "none"
		return nil
	case s.head.Version == 0 && s.highest.Compare(s.inForce) > 0:
		s.state.State = "incomplete" // a head was seen that the broker has forgotten, or not sent yet
		return nil
	case s.head.At().Compare(s.inForce) == 0 && s.head.IssuedAt.After(s.inForce.IssuedAt):
		return s.refresh(ctx, s.head.At()) // it may have come while the version was fetched
	case s.head.Version == 0 || s.head.At().Compare(s.inForce) == 0:
		if s.state.State == "incomplete" {
			s.state.Last = "" // what was wrong before is over
		}
		s.state.State, s.failures = "current", 0
		return s.leave(ctx)
	}
	s.state.State = "fetching"
	if s.stillLeads() {
		return s.advance(ctx)
	}
	if err := s.leave(ctx); err != nil {
		return err
	}
	switch {
	case !s.noDeltas && s.deltasReach():
		s.way = newDeltaWay(s.topics, s.store, s.inForce, s.head.At())
	case !s.noWhole && (s.head.Epoch != s.inForce.Epoch || s.head.Snapshot.Version > s.inForce.Version):
		s.way = newSnapshotWay(s.store, s.head)
	default:
		return s.later(ctx, fmt.Errorf("no way from version %d.%d to %d.%d", s.inForce.Epoch, s.inForce.Version, s.head.Epoch, s.head.Version))
	}
	s.progress, s.stalls = s.now(), 0
	return s.advance(ctx)
}

func (s *listSync) deltasReach() bool {
	return s.inForce.Version > 0 && s.inForce.Epoch == s.head.Epoch &&
		s.inForce.Version >= s.head.DeltasFrom && s.head.Version-s.inForce.Version <= maxChain
}

// stillLeads tells whether what is being fetched serves the newest head too:
// a publisher that is busier than the link must not make us start over forever.
func (s *listSync) stillLeads() bool {
	switch w := s.way.(type) {
	case *deltaWay:
		if w.from == s.inForce && s.deltasReach() {
			w.to = s.head.At()
			return true
		}
	case *snapshotWay:
		return w.to.Epoch == s.head.Epoch && w.to.Version >= s.head.DeltasFrom &&
			(w.to.Version != s.head.Snapshot.Version || w.want == s.head.Snapshot.Index)
	}
	return false
}

// advance subscribes to the next pieces once the last ones are there, or puts
// the version in force when none is missing.
func (s *listSync) advance(ctx context.Context) error {
	if len(s.missing()) > 0 {
		return nil
	}
	wanted := s.way.wanted(window)
	if err := s.unsubscribe(ctx); err != nil {
		return err
	}
	if len(wanted) > 0 {
		s.batch = wanted
		return s.net.Subscribe(ctx, wanted...)
	}
	v, err := s.way.finish(ctx)
	if err != nil {
		return s.deadEnd(ctx, err)
	}
	s.way, s.inForce, s.noDeltas = nil, v, false
	s.state.Last = "" // what was wrong before is over
	s.report(ListEvent{ListApplied, v, nil})
	return s.plan(ctx)
}

// deadEnd gives the way up and looks for another.
func (s *listSync) deadEnd(ctx context.Context, err error) error {
	switch w := s.way.(type) {
	case *deltaWay:
		s.noDeltas = true
	case *snapshotWay: // an older snapshot than the head's may have been cleared meanwhile
		s.noWhole = w.to.Version == s.head.Snapshot.Version && w.want == s.head.Snapshot.Index
	}
	s.state.Refused++
	s.state.Last = err.Error()
	s.report(ListEvent{ListStalled, s.inForce, err})
	if err := s.leave(ctx); err != nil {
		return err
	}
	return s.plan(ctx)
}

// unkept says that the store here fails, which no publisher can mend, and waits.
func (s *listSync) unkept(ctx context.Context, err error) error {
	s.state.Last = err.Error()
	return s.later(ctx, err)
}

// later waits, with full jitter, before everything is tried again.
func (s *listSync) later(ctx context.Context, err error) error {
	s.state.State = "incomplete"
	s.report(ListEvent{ListStalled, s.inForce, err})
	s.retryAt = s.now().Add(s.patience/retryLeast + jitter(retryBase*s.patience, retryCap*s.patience, s.failures))
	s.failures++
	return s.leave(ctx)
}

func (s *listSync) leave(ctx context.Context) error {
	s.way = nil
	return s.unsubscribe(ctx)
}

func (s *listSync) unsubscribe(ctx context.Context) error {
	topics := s.batch
	s.batch = nil
	return s.net.Unsubscribe(ctx, topics...)
}

// jitter is a random time up to base·2ⁿ and up to limit: clients that lost one
// broker together must not come back together.
func jitter(base, limit time.Duration, n int) time.Duration {
	d := base
	for ; n > 0 && d < limit; n-- {
		d *= 2
	}
	return rand.N(min(d, limit))
}
