package uplink_test

import (
	"crypto/sha256"
	"maps"
	"slices"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

// book is a publisher in RAM: the list's whole history.
type book struct {
	topics  uplink.ListTopics
	list    string
	epoch   uint64
	entries map[session.IDToken]session.Entry
	digests []session.Digest // by version
	deltas  map[uint64][]byte
	from    uint64
	whole   uplink.Snapshot
	pieces  map[string][]byte // of the snapshot
	issued  time.Time
}

func newBook(list string, epoch uint64) *book {
	return &book{topics: uplink.ListTopics(list), list: list, epoch: epoch, entries: map[session.IDToken]session.Entry{},
		digests: []session.Digest{uplink.FirstDigest(list, epoch)}, deltas: map[uint64][]byte{}, pieces: map[string][]byte{},
		issued: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
}

func entry(uid string, s session.Status) session.Entry {
	return session.Entry{UID: session.IDToken(uid), Status: s, Account: "r-" + uid}
}

func (b *book) version() uint64 { return uint64(len(b.digests) - 1) }

// push makes the next version.
func (b *book) push(put ...session.Entry) { b.change(session.Delta{Put: put}) }

func (b *book) change(d session.Delta) {
	for _, e := range d.Put {
		b.entries[e.UID] = e
	}
	for _, uid := range d.Remove {
		delete(b.entries, uid)
	}
	n := b.version() + 1
	payload, err := uplink.Encode(uplink.Delta{List: b.list, Epoch: b.epoch, Version: n, Delta: d})
	if err != nil {
		panic(err)
	}
	b.deltas[n] = payload
	b.digests = append(b.digests, uplink.NextDigest(b.digests[n-1], n, payload))
	b.issued = b.issued.Add(time.Second)
}

// snapshot makes one of the newest version, with chunks of so many entries, and
// forgets the deltas before it.
func (b *book) snapshot(size int) {
	v := b.version()
	x := uplink.Index{List: b.list, Epoch: b.epoch, Version: v, Count: len(b.entries), Chunks: []session.Digest{}}
	b.pieces = map[string][]byte{}
	for uids := range slices.Chunk(slices.Sorted(maps.Keys(b.entries)), size) {
		var c uplink.Chunk
		for _, uid := range uids {
			c.Put = append(c.Put, b.entries[uid])
		}
		payload, err := uplink.Encode(c)
		if err != nil {
			panic(err)
		}
		b.pieces[b.topics.Chunk(v, len(x.Chunks))] = payload
		x.Chunks = append(x.Chunks, sha256.Sum256(payload))
	}
	index, err := uplink.Encode(x)
	if err != nil {
		panic(err)
	}
	b.pieces[b.topics.Index(v)] = index
	b.whole = uplink.Snapshot{Version: v, Digest: b.digests[v], Index: sha256.Sum256(index)}
	b.from = v
}

func (b *book) head() uplink.Head {
	v := b.version()
	return uplink.Head{List: b.list, Epoch: b.epoch, Version: v, Digest: b.digests[v], Count: len(b.entries),
		DeltasFrom: b.from, Snapshot: b.whole, IssuedAt: b.issued}
}

func (b *book) signed(t testing.TB) []byte {
	t.Helper()
	key, _ := keys()
	m, err := uplink.SignHead(b.head(), key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// messages is everything that a broker should hold.
func (b *book) messages(t testing.TB) map[string][]byte {
	t.Helper()
	all := maps.Clone(b.pieces)
	for v := b.from + 1; v <= b.version(); v++ {
		all[b.topics.Delta(v)] = b.deltas[v]
	}
	all[b.topics.Head()] = b.signed(t)
	return all
}

// publishTo sends everything, the head last.
func (b *book) publishTo(t testing.TB, c *uplink.Conn) {
	t.Helper()
	all := b.messages(t)
	topics := slices.Sorted(maps.Keys(all))
	topics = append(slices.DeleteFunc(topics, func(s string) bool { return s == b.topics.Head() }), b.topics.Head())
	for _, topic := range topics {
		if err := c.Publish(t.Context(), topic, true, all[topic]); err != nil {
			t.Fatal(err)
		}
	}
}
