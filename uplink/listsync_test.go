package uplink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

// air is a broker in RAM and a gateway's list behind it.
type air struct {
	t        *testing.T
	now      time.Time
	retained map[string][]byte
	subs     map[string]bool
	widest   int // most topics subscribed at a time, beside the head
	queue    []uplink.Incoming
	memory   *memory
	sync     uplink.ListSync
	events   []uplink.ListEvent
	rand     *rand.Rand
}

func newAir(t *testing.T) *air {
	a := &air{t: t, now: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), retained: map[string][]byte{}, memory: newMemory(),
		rand: rand.New(rand.NewPCG(1, 2))}
	a.restart()
	return a
}

// restart is a new process on the same disk.
func (a *air) restart() {
	_, pinned := keys()
	a.sync = uplink.NewListSync("desk", pinned, a.memory, a.memory,
		func(e uplink.ListEvent) { a.events = append(a.events, e) }, func() time.Time { return a.now })
	a.connect()
}

func (a *air) connect() {
	a.subs, a.queue = map[string]bool{}, nil
	if err := a.sync.Connected(a.t.Context(), a); err != nil {
		a.t.Fatal(err)
	}
}

func (a *air) Subscribe(_ context.Context, topics ...string) error {
	for _, t := range topics {
		a.subs[t] = true
		if b := a.retained[t]; b != nil {
			a.queue = append(a.queue, uplink.Incoming{Topic: t, Payload: b})
		}
	}
	a.widest = max(a.widest, len(a.subs)-1)
	return nil
}

func (a *air) Unsubscribe(_ context.Context, topics ...string) error {
	for _, t := range topics {
		if !a.subs[t] {
			a.t.Errorf("unsubscribes from %s, which it is not subscribed to", t)
		}
		delete(a.subs, t)
	}
	return nil
}

func (a *air) publish(topic string, b []byte) {
	if a.retained[topic] = b; len(b) == 0 {
		delete(a.retained, topic)
	}
	if a.subs[topic] {
		a.queue = append(a.queue, uplink.Incoming{Topic: topic, Payload: b})
	}
}

// put publishes all of the book, the head last.
func (a *air) put(b *book) {
	for topic, payload := range b.messages(a.t) {
		if topic != b.topics.Head() {
			a.publish(topic, payload)
		}
	}
	a.publish(b.topics.Head(), b.signed(a.t))
}

// deliver hands over up to n messages, in any order and some twice.
func (a *air) deliver(n int) {
	for ; n > 0 && len(a.queue) > 0; n-- {
		i := a.rand.IntN(len(a.queue))
		m := a.queue[i]
		if a.rand.IntN(10) > 0 {
			a.queue = slices.Delete(a.queue, i, i+1)
		}
		if err := a.sync.Message(a.t.Context(), m.Topic, m.Payload); err != nil {
			a.t.Fatal(err)
		}
	}
}

// pass lets time go by, ticks included.
func (a *air) pass(d time.Duration) {
	for end := a.now.Add(d); ; {
		a.deliver(1 << 20)
		next := a.sync.Next()
		if next.After(end) {
			a.now = end
			return
		}
		a.now = next
		if err := a.sync.Tick(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *air) want(b *book) {
	a.t.Helper()
	v, got := a.memory.inForce()
	if v.Version != b.version() || v.Epoch != b.epoch || !reflect.DeepEqual(got, b.entries) {
		a.t.Errorf("got version %d.%d with %v, want %d.%d with %v (state %+v)", v.Epoch, v.Version, got, b.epoch, b.version(), b.entries, a.sync.State())
	}
}

func uid(n int) string { return fmt.Sprintf("%08X", n) }

// filled is a book of n badges at version 1, with a snapshot in chunks of size.
func filled(n, size int) *book {
	b := newBook("desk", 1)
	var put []session.Entry
	for i := range n {
		put = append(put, entry(uid(i), session.Accepted))
	}
	b.push(put...)
	b.snapshot(size)
	return b
}

func TestSnapshotInManyChunksComesInWindows(t *testing.T) {
	a, b := newAir(t), filled(100, 3)
	a.put(b)
	a.pass(0)
	a.want(b)
	if a.widest > 8 {
		t.Errorf("subscribed to %d topics at a time, want at most 8", a.widest)
	}
	if len(a.subs) != 1 {
		t.Errorf("stays subscribed to %v, want only the head", a.subs)
	}
}

func TestStagedChunksSurviveARestart(t *testing.T) {
	a, b := newAir(t), filled(100, 3)
	a.put(b)
	a.deliver(15)
	before := len(a.memory.staged)
	if before == 0 {
		t.Fatal("nothing is staged after 15 messages")
	}
	for topic := range a.retained { // what is staged is not to be fetched again
		for n := range a.memory.staged {
			if topic == b.topics.Chunk(1, n) {
				delete(a.retained, topic)
			}
		}
	}
	a.restart()
	a.pass(0)
	a.want(b)
}

func TestDeltasBeatTheSnapshotWhereTheyReach(t *testing.T) {
	a, b := newAir(t), filled(10, 100)
	a.put(b)
	a.pass(0)
	for i := range 20 {
		b.push(entry(uid(i), session.Blocked))
	}
	for topic := range b.pieces {
		delete(a.retained, topic)
		delete(b.pieces, topic)
	}
	a.put(b)
	a.pass(0)
	a.want(b)
}

func TestMissingDeltaIsAskedForTwiceThenTheSnapshotTaken(t *testing.T) {
	a, b := newAir(t), filled(10, 100)
	a.put(b)
	a.pass(0)
	b.push(entry(uid(1), session.Blocked))
	b.push(entry(uid(2), session.Blocked))
	lost := b.topics.Delta(2)
	from := b.from
	b.snapshot(100)
	b.from = from
	a.put(b)
	delete(a.retained, lost)
	a.queue = slices.DeleteFunc(a.queue, func(m uplink.Incoming) bool { return m.Topic == lost })
	a.pass(89 * time.Second)
	if v, _ := a.memory.inForce(); v.Version != 1 {
		t.Errorf("after 89 s: got version %d, want still 1", v.Version)
	}
	a.pass(2 * time.Second)
	a.want(b)
}

func TestIncompleteListIsSaidAndRetried(t *testing.T) {
	a, b := newAir(t), filled(10, 4)
	a.put(b)
	a.queue = nil
	lost := b.topics.Chunk(1, 2)
	delete(a.retained, lost)
	a.connect()
	a.pass(90 * time.Second)
	if got := a.sync.State().State; got != "incomplete" {
		t.Errorf("state: got %s, want incomplete", got)
	}
	a.retained[lost] = b.pieces[lost]
	a.pass(time.Hour)
	a.want(b)
	if got := a.sync.State().State; got != "current" {
		t.Errorf("state: got %s, want current", got)
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	a, b := newAir(t), filled(1, 1)
	a.put(b)
	a.pass(0)
	b.change(session.Delta{Remove: []session.IDToken{session.IDToken(uid(0))}})
	b.snapshot(1)
	a.memory = newMemory() // a fresh card
	a.restart()
	a.put(b)
	a.pass(0)
	a.want(b)
}

func TestT11_HeadsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(a *air, b *book)
		want  string
	}{
		"an older head": {func(a *air, b *book) {
			old := b.signed(a.t)
			b.push(entry(uid(3), session.Blocked))
			a.put(b)
			a.pass(0)
			a.publish(b.topics.Head(), old)
		}, "rollback"},
		"an older head after the list's file was lost": {func(a *air, b *book) {
			old := b.messages(a.t)
			b.push(entry(uid(3), session.Blocked))
			a.put(b)
			a.pass(0)
			a.memory.at, a.memory.entries = session.ListVersion{}, map[session.IDToken]session.Entry{}
			a.retained = old
			a.restart()
			a.pass(0)
			*b = *newBook("desk", 0)
		}, "rollback"},
		"another digest of the same version": {func(a *air, b *book) {
			other := newBook("desk", 1)
			other.push(entry(uid(7), session.Accepted))
			other.snapshot(10)
			a.publish(b.topics.Head(), other.signed(a.t))
		}, "fork"},
		"another key": {func(a *air, b *book) { a.publish(b.topics.Head(), spoil(b.signed(a.t))) }, "signature"},
		"no JWS":      {func(a *air, b *book) { a.publish(b.topics.Head(), []byte("null")) }, "JWS"},
		"another list": {func(a *air, b *book) {
			other := newBook("other", 9)
			other.push()
			other.snapshot(1)
			a.publish(b.topics.Head(), other.signed(a.t))
		}, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newAir(t), filled(10, 4)
			a.put(b)
			a.pass(0)
			c.spoil(a, b)
			a.pass(time.Minute)
			if b.epoch > 0 {
				a.want(b)
			}
			s := a.sync.State()
			if s.Refused == 0 || !strings.Contains(s.Last, c.want) {
				t.Errorf("got %d refusals, the last %q, want one with %q", s.Refused, s.Last, c.want)
			}
		})
	}
}

// spoil changes the signature.
func spoil(jws []byte) []byte {
	b := bytes.Clone(jws)
	if i := bytes.LastIndexByte(b, '.') + 1; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return b
}

func TestAHigherEpochReplacesTheList(t *testing.T) {
	a, b := newAir(t), filled(10, 4)
	for range 5 {
		b.push(entry(uid(1), session.Blocked))
	}
	a.put(b)
	a.pass(0)
	again := newBook("desk", 2)
	again.push(entry(uid(50), session.Accepted))
	again.snapshot(10)
	a.put(again)
	a.pass(time.Minute)
	a.want(again)
}

func TestALaterIssueRefreshes(t *testing.T) {
	a, b := newAir(t), filled(10, 4)
	a.put(b)
	a.pass(0)
	b.issued = b.issued.Add(24 * time.Hour)
	a.put(b)
	a.pass(0)
	if v, _ := a.memory.inForce(); !v.IssuedAt.Equal(b.issued) {
		t.Errorf("issuedAt: got %v, want %v", v.IssuedAt, b.issued)
	}
}

func TestALaterIssueThatComesWhileTheVersionIsFetched(t *testing.T) {
	a, b := newAir(t), filled(10, 4)
	a.put(b)
	a.deliver(3)
	b.issued = b.issued.Add(24 * time.Hour)
	a.publish(b.topics.Head(), b.signed(t))
	a.pass(0)
	a.want(b)
	if v, _ := a.memory.inForce(); !v.IssuedAt.Equal(b.issued) {
		t.Errorf("issuedAt: got %v, want %v", v.IssuedAt, b.issued)
	}
}

func TestABrokenDiskStopsNothingForGood(t *testing.T) {
	a, b := newAir(t), filled(10, 4)
	a.memory.fail = errors.New("disk is full")
	a.put(b)
	a.pass(0)
	if got := a.sync.State().State; got != "incomplete" {
		t.Errorf("state: got %s, want incomplete", got)
	}
	if got := a.sync.State().Last; !strings.Contains(got, "disk is full") {
		t.Errorf("got %q, want what the disk says", got)
	}
	a.memory.fail = nil
	a.pass(2 * time.Hour)
	a.want(b)
	a.memory.fail = errors.New("disk is read-only")
	b.issued = b.issued.Add(24 * time.Hour)
	a.publish(b.topics.Head(), b.signed(t))
	a.pass(0)
	if got := a.sync.State(); got.State != "incomplete" || got.Last != "disk is read-only" || got.Refused > 1 {
		t.Errorf("a later date: got %+v, want what the disk says, and no message refused for it", got)
	}
	a.memory.fail = nil
	a.pass(2 * time.Hour)
	a.want(b)
	if got := a.sync.State(); got.State != "current" || got.Last != "" {
		t.Errorf("got %+v, want what was wrong to be over", got)
	}
}
