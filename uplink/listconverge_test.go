package uplink_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"badged/session"
)

// TestAnythingConverges does what publishers, brokers and gateways may do, in any
// order, against the book as the model: the list in force is always one that was
// published, and when it gets quiet it is the newest.
func TestAnythingConverges(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { converge(t, seed) })
	}
}

func converge(t *testing.T, seed uint64) {
	a := newAir(t)
	a.rand = rand.New(rand.NewPCG(seed, 0))
	r := a.rand
	b := filled(5, 2)
	var heads [][]byte
	published := map[string]map[session.IDToken]session.Entry{point(session.ListVersion{}): {}}
	for range 120 {
		switch r.IntN(12) {
		case 0, 1, 2:
			b.push(entry(uid(r.IntN(12)), session.Blocked), entry(uid(20+r.IntN(12)), session.Accepted))
		case 3:
			b.change(session.Delta{Remove: []session.IDToken{session.IDToken(uid(r.IntN(12)))}})
		case 4:
			from := b.from
			b.snapshot(1 + r.IntN(4))
			if r.IntN(2) == 0 {
				b.from = from // deltas for laggards stay
			}
		case 5: // the publisher lost its state
			if r.IntN(4) == 0 {
				entries := slices.Collect(maps.Values(b.entries))
				b = newBook("desk", b.epoch+1)
				b.push(entries...)
				b.snapshot(3)
			}
		case 6:
			for topic := range a.retained {
				if r.IntN(3) == 0 {
					delete(a.retained, topic)
				}
			}
		case 7:
			for topic, payload := range a.retained {
				if r.IntN(6) == 0 {
					a.retained[topic] = append(slices.Clone(payload), 'x')
				}
			}
		case 8:
			a.restart()
		case 9:
			a.connect()
		case 10:
			a.pass(time.Duration(r.IntN(100)) * time.Second)
		case 11:
			if len(heads) > 0 {
				a.publish(b.topics.Head(), heads[r.IntN(len(heads))])
			}
		}
		if r.IntN(2) == 0 {
			published[point(b.head().At())] = maps.Clone(b.entries)
			published[point(wholeOf(b))] = nil // the list on the way from the snapshot
			heads = append(heads, b.signed(t))
			a.put(b)
		}
		a.deliver(r.IntN(12))
		v, entries := a.memory.inForce()
		want, ok := published[point(v)]
		if !ok || want != nil && !reflect.DeepEqual(entries, want) {
			t.Fatalf("in force is %d.%d with %v, which was never published", v.Epoch, v.Version, entries)
		}
	}
	b.push(entry(uid(99), session.Accepted)) // a publisher goes on
	a.put(b)
	a.pass(3 * time.Hour)
	a.want(b)
}

func wholeOf(b *book) session.ListVersion {
	return session.ListVersion{List: b.list, Epoch: b.epoch, Version: b.whole.Version, Digest: b.whole.Digest}
}
