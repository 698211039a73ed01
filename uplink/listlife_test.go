package uplink_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

// pieces are the messages of a book that a broker does not have yet, the head last.
func (a *air) pieces(b *book) (topics []string, all map[string][]byte) {
	all = b.messages(a.t)
	for topic, payload := range all {
		if string(a.retained[topic]) != string(payload) && topic != b.topics.Head() {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return append(topics, b.topics.Head()), all
}

// forget clears everything but the topics that keep says.
func (a *air) forget(keep func(topic string) bool) {
	maps.DeleteFunc(a.retained, func(topic string, _ []byte) bool { return !keep(topic) })
	a.queue = slices.DeleteFunc(a.queue, func(m uplink.Incoming) bool { return !keep(m.Topic) })
}

func nothing(string) bool { return false }

// settled is a gateway whose list is that of the book.
func settled(t *testing.T) (*air, *book) {
	a, b := newAir(t), filled(10, 4)
	a.put(b)
	a.pass(0)
	a.want(b)
	return a, b
}

// A publisher that is killed between two messages leaves pieces without a head:
// the list in force stays, and the rest brings the next.
func TestPublisherKilledAtEveryStep(t *testing.T) {
	next := map[string]func(b *book){
		"deltas": func(b *book) {
			b.push(entry(uid(1), session.Blocked))
			b.push(entry(uid(2), session.Blocked))
		},
		"snapshot": func(b *book) {
			b.push(entry(uid(1), session.Blocked))
			b.snapshot(3)
		},
		"empty list": func(b *book) {
			b.change(session.Delta{Remove: slices.Collect(maps.Keys(b.entries))})
			b.snapshot(3)
		},
		"new epoch": func(b *book) {
			*b = *newBook("desk", b.epoch+1)
			b.push(entry(uid(7), session.Accepted))
			b.snapshot(1)
		},
	}
	for name, change := range next {
		for killed := 0; ; killed++ {
			a, b := settled(t)
			before, _ := a.memory.inForce()
			change(b)
			topics, all := a.pieces(b)
			if killed == len(topics) {
				break
			}
			for _, topic := range topics[:killed] {
				a.publish(topic, all[topic])
			}
			a.pass(2 * time.Hour)
			a.restart()
			a.pass(time.Minute)
			if v, _ := a.memory.inForce(); v != before || a.sync.State().State != "current" {
				t.Errorf("%s, killed after %d messages: got version %d.%d, %+v, want that from before", name, killed, v.Epoch, v.Version, a.sync.State())
			}
			for _, topic := range topics[killed:] {
				a.publish(topic, all[topic])
			}
			a.pass(time.Minute)
			a.want(b)
		}
	}
}

// The old snapshot is cleared while it is being fetched: the new one is taken
// without waiting for anything else to go wrong.
func TestCompactionWhileAGatewayDownloads(t *testing.T) {
	a, b := newAir(t), filled(40, 2)
	a.put(b)
	a.deliver(8)
	if n := len(a.memory.staged); n == 0 || n == 20 {
		t.Fatalf("got %d chunks staged, want some", n)
	}
	for n := range 3 {
		b.push(entry(uid(n), session.Blocked))
	}
	from := b.from
	b.snapshot(5)
	b.from = from // the deltas stay: the old snapshot would lead to the head still
	a.forget(nothing)
	a.put(b)
	a.pass(91 * time.Second)
	a.want(b)
	for _, e := range a.events {
		if e.Kind == uplink.ListStalled && strings.Contains(e.Reason.Error(), "no way") {
			t.Errorf("got %v, want the new snapshot taken at once", e.Reason)
		}
	}
}

// A publisher that is busier than the link does not make a gateway start over.
func TestHeadsThatMoveWhileAGatewayDownloads(t *testing.T) {
	a, b := newAir(t), filled(40, 2)
	a.put(b)
	for n := range 12 {
		a.deliver(5)
		b.push(entry(uid(n), session.Blocked))
		a.put(b)
	}
	a.pass(0)
	a.want(b)
	for _, e := range a.events {
		if e.Kind == uplink.ListStalled {
			t.Errorf("got %v, want no detour", e.Reason)
		}
	}
}

// The deltas of another epoch may have the numbers that lead on from ours.
func TestANewEpochsDeltasAreNoWay(t *testing.T) {
	a, _ := settled(t)
	next := newBook("desk", 2)
	next.push(entry(uid(3), session.Blocked))
	next.snapshot(10)
	next.push(entry(uid(4), session.Accepted))
	a.put(next)
	a.pass(0)
	a.want(next)
	if s := a.sync.State(); s.Refused != 0 {
		t.Errorf("got %d refusals, the last %q, want the snapshot taken at once", s.Refused, s.Last)
	}
}

func TestBrokerThatForgotEverything(t *testing.T) {
	a, b := settled(t)
	a.forget(nothing)
	a.restart()
	a.pass(24 * time.Hour)
	a.want(b)
	if got := a.sync.State().State; got != "current" {
		t.Errorf("state: got %s, want current", got)
	}
	b.push(entry(uid(3), session.Blocked))
	a.put(b)
	a.pass(0)
	a.want(b)
}

// A head that was seen and could not be followed is not forgotten by a restart:
// the list is said to be incomplete although the broker has nothing to show.
func TestNewerHeadThatWasSeenIsNotForgotten(t *testing.T) {
	a, b := settled(t)
	b.push(entry(uid(3), session.Blocked))
	a.publish(b.topics.Head(), b.signed(t))
	a.deliver(1)
	a.forget(nothing)
	a.restart()
	a.pass(time.Minute)
	if v, _ := a.memory.inForce(); v.Version != 1 || a.sync.State().State != "incomplete" {
		t.Errorf("got version %d, %s, want 1 and incomplete", v.Version, a.sync.State().State)
	}
	a.put(b)
	a.pass(time.Minute)
	a.want(b)
}

// Another publisher goes on from another version 1, with the same key.
func TestForkIsSeenInTheSnapshotToo(t *testing.T) {
	a, b := settled(t)
	other := newBook("desk", 1)
	other.push(entry(uid(7), session.Accepted))
	other.snapshot(10)
	other.push(entry(uid(8), session.Accepted))
	a.put(other)
	a.pass(time.Hour)
	a.want(b)
	if s := a.sync.State(); !strings.Contains(s.Last, "fork") || s.State != "current" {
		t.Errorf("got %+v, want a fork and the list current", s)
	}
	if a.memory.highest.Version != 1 {
		t.Errorf("highest head: got %d, want 1: a fork must not shut the true publisher out", a.memory.highest.Version)
	}
}

// The list's file is lost. Another publisher with the same key had the same version,
// or goes on from it: what is left of the head that was seen tells them apart.
func TestForkIsSeenAfterTheListWasLost(t *testing.T) {
	for name, c := range map[string]struct {
		numberOnly bool // all that was kept, as by an earlier version of badged
		more       bool // the other publisher has gone on
		refused    bool
	}{
		"of the same version":                      {refused: true},
		"in the snapshot":                          {more: true, refused: true},
		"and nobody knows the digest":              {numberOnly: true},
		"in the snapshot, nobody knows the digest": {numberOnly: true, more: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := settled(t)
			other := newBook("desk", 1)
			other.push(entry(uid(7), session.Accepted))
			other.snapshot(10)
			if c.more {
				other.push(entry(uid(8), session.Accepted))
			}
			a.memory.mu.Lock()
			a.memory.at, a.memory.entries = session.ListVersion{}, map[session.IDToken]session.Entry{}
			if c.numberOnly {
				a.memory.highest = session.ListVersion{List: "desk", Epoch: 1, Version: 1}
			}
			a.memory.mu.Unlock()
			a.retained = other.messages(t)
			a.restart()
			a.pass(time.Hour)
			if !c.refused {
				a.want(other)
				if got, want := a.memory.highest.Digest, other.head().Digest; got != want {
					t.Errorf("got digest %s kept, want that of the head", got)
				}
				return
			}
			if v, _ := a.memory.inForce(); v.Version != 0 || a.memory.highest.Version != 1 {
				t.Errorf("got version %d in force, head %d, want the fork refused", v.Version, a.memory.highest.Version)
			}
			if s := a.sync.State(); s.Refused == 0 || !strings.Contains(s.Last, "fork") {
				t.Errorf("got %+v, want a fork", s)
			}
			a.put(b)
			a.pass(time.Hour)
			a.want(b)
		})
	}
}

// The store's file was lost in use, and begun anew.
func TestListLostInUseComesAgain(t *testing.T) {
	a, b := settled(t)
	b.push(entry(uid(3), session.Blocked))
	a.put(b)
	a.pass(0)
	a.memory.mu.Lock()
	a.memory.at, a.memory.entries = session.ListVersion{}, map[session.IDToken]session.Entry{}
	a.memory.mu.Unlock()
	if err := a.sync.Lost(a.t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.sync.State().State; got != "fetching" {
		t.Errorf("state: got %s, want fetching", got)
	}
	a.pass(0)
	a.want(b)
}

// A publisher's clock that was years ahead for a day orders nothing.
func TestHeadFromTheFuture(t *testing.T) {
	a, b := settled(t)
	b.issued = b.issued.AddDate(50, 0, 0)
	b.push(entry(uid(3), session.Blocked))
	a.put(b)
	a.pass(0)
	a.want(b)
	b.issued = b.issued.AddDate(-50, 0, 1)
	b.push(entry(uid(4), session.Blocked))
	a.put(b)
	a.pass(0)
	a.want(b)
}

func TestListThatShrinksToNothing(t *testing.T) {
	for name, whole := range map[string]bool{"by a delta": false, "by a snapshot": true} {
		t.Run(name, func(t *testing.T) {
			a, b := settled(t)
			for len(b.entries) > 0 {
				uids := slices.Sorted(maps.Keys(b.entries))
				b.change(session.Delta{Remove: uids[:max(1, len(uids)*3/4)]})
				if whole {
					b.snapshot(4)
				}
				a.put(b)
				a.pass(time.Minute)
				a.want(b)
			}
		})
	}
}

// A list that stays incomplete is tried again after random times, up to an hour,
// and two gateways do not go in step.
func TestRetriesBackOffWithFullJitter(t *testing.T) {
	tries := func() (at []time.Duration) {
		a, b := newAir(t), filled(10, 4)
		a.retained[b.topics.Head()] = b.signed(t)
		start := a.now
		counting := counter{air: a, topic: b.topics.Index(1), at: func() { at = append(at, a.now.Sub(start)) }}
		a.subs, a.queue = map[string]bool{}, nil
		if err := a.sync.Connected(t.Context(), &counting); err != nil {
			t.Fatal(err)
		}
		a.pass(48 * time.Hour)
		return at
	}
	one, two := tries(), tries()
	// Three at a time; a mean of half an hour, and 90 s each.
	if n := len(one) / 3; n < 40 || n > 200 {
		t.Errorf("got %d tries in two days, want about 90", n)
	}
	if slices.Equal(one, two) {
		t.Error("got two gateways in step, want them apart")
	}
	for i := 3; i+3 < len(one); i += 3 {
		if gap := one[i+3] - one[i]; gap > time.Hour+92*time.Second {
			t.Errorf("got %v between two tries, want at most an hour", gap)
		}
	}
}

// counter hears of each subscription to a topic.
type counter struct {
	*air
	topic string
	at    func()
}

func (c *counter) Subscribe(ctx context.Context, topics ...string) error {
	if slices.Contains(topics, c.topic) {
		c.at()
	}
	return c.air.Subscribe(ctx, topics...)
}

// Nothing comes of deltas before their head: nobody asked for them.
func TestDeltasWithoutAHead(t *testing.T) {
	a, b := settled(t)
	before, _ := a.memory.inForce()
	b.push(entry(uid(3), session.Blocked))
	for range 3 {
		if err := a.sync.Message(t.Context(), b.topics.Delta(2), b.deltas[2]); err != nil {
			t.Fatal(err)
		}
	}
	a.publish(b.topics.Delta(2), b.deltas[2])
	a.pass(3 * time.Hour)
	if v, _ := a.memory.inForce(); v != before || a.sync.State().Refused != 0 {
		t.Errorf("got version %d, %+v, want nothing to happen", v.Version, a.sync.State())
	}
	a.put(b)
	a.pass(0)
	a.want(b)
}

// A gap in the chain that the snapshot cannot close is said, and closes itself.
func TestGapInTheChain(t *testing.T) {
	a, b := settled(t)
	for n := range 9 {
		b.push(entry(uid(n), session.Blocked))
	}
	a.put(b)
	a.forget(func(topic string) bool { return topic != b.topics.Delta(6) })
	a.pass(90 * time.Second)
	if v, _ := a.memory.inForce(); v.Version != 1 || a.sync.State().State != "incomplete" ||
		!slices.ContainsFunc(a.events, func(e uplink.ListEvent) bool {
			return e.Reason != nil && strings.Contains(fmt.Sprint(e.Reason), b.topics.Delta(6))
		}) {
		t.Errorf("got version %d, %+v, want 1, incomplete, and the topic that is missing named", v.Version, a.sync.State())
	}
	a.publish(b.topics.Delta(6), b.deltas[6]) // the publisher repairs the broker's cache
	a.pass(2 * time.Hour)
	a.want(b)
}
