package backend

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"badged/session"
	"badged/uplink"
)

// change is a version in the making: all that is new about it.
type change struct {
	next   saved
	deltas map[uint64][]byte // to send; none after a push that is a snapshot only
	index  []byte            // nil without a new snapshot
	chunks [][]byte
	pushed Pushed
}

// prepare works out the next version without touching anything. epoch is the
// one to start if a new one is wanted.
func (p *Publisher) prepare(entries []session.Entry, o PushOpts, epoch uint64) (change, error) {
	head := p.store.saved.Head
	old, err := p.store.load()
	if err != nil && !o.NewEpoch {
		return change{}, err
	}
	next := p.store.saved
	if head.Version == 0 || o.NewEpoch {
		next.Previous = 0
		list := string(p.store.topics)
		head = uplink.Head{List: list, Epoch: epoch, Digest: uplink.FirstDigest(list, epoch)}
		old = nil
	}
	d := differ(old, entries)
	next.Head = head
	c := change{next: next,
		pushed: Pushed{Epoch: head.Epoch, From: head.Version, To: head.Version, Count: len(entries), Put: d.Put, Remove: d.Remove}}
	if gone := len(d.Remove); gone > shrinkFloor && gone*100 > len(old)*shrinkPercent && !o.Force {
		return c, fmt.Errorf("%w: %d of %d badges would go, more than %d %% (push with force if that is meant)", ErrShrinks, gone, len(old), shrinkPercent)
	}
	if len(d.Put)+len(d.Remove) == 0 && head.Version > 0 {
		return c, nil
	}
	if err := c.cut(d); err != nil {
		return c, err
	}
	c.next.Head.Count = len(entries)
	c.pushed.To = c.next.Head.Version
	return c, c.summarize(p.store, entries)
}

// cut packs a difference into deltas, at least one, and runs the digest over them.
func (c *change) cut(d session.Delta) error {
	h := &c.next.Head
	c.deltas = make(map[uint64][]byte)
	put := len(d.Put)
	err := pack(put+len(d.Remove), func(i, j int) ([]byte, error) {
		part := session.Delta{Put: d.Put[min(i, put):min(j, put)], Remove: d.Remove[max(i-put, 0):max(j-put, 0)]}
		return uplink.Encode(uplink.Delta{List: h.List, Epoch: h.Epoch, Version: h.Version + 1, Delta: part})
	}, func(payload []byte) {
		h.Version++
		h.Digest = uplink.NextDigest(h.Digest, h.Version, payload)
		c.deltas[h.Version] = payload
	})
	if err != nil {
		return fmt.Errorf("cut deltas: %w", err)
	}
	return nil
}

// summarize decides whether the version wants a snapshot, and makes it.
func (c *change) summarize(s *store, entries []session.Entry) error {
	h := &c.next.Head
	n, size := s.chain()
	for _, b := range c.deltas {
		n, size = n+1, size+len(b)
	}
	fresh := h.Snapshot.Version == 0 || len(c.deltas) > maxPush || len(c.pushed.Put)+len(c.pushed.Remove) > maxPushItems
	if !fresh && n <= maxSince && size <= maxSinceSize {
		return nil
	}
	if err := c.snapshot(entries); err != nil {
		return err
	}
	if fresh {
		c.deltas, h.DeltasFrom = nil, h.Version
	} else if h.Version > maxKept && h.DeltasFrom < h.Version-maxKept {
		h.DeltasFrom = min(h.Version-maxKept, h.Snapshot.Version)
	}
	return nil
}

// compact is a new snapshot of the version that there is. The deltas since the
// one before stay, for those that are fetching that.
func (c *change) compact(entries []session.Entry) error {
	before := c.next.Head.Snapshot.Version
	c.next.Head.DeltasFrom = max(c.next.Head.DeltasFrom, before)
	return c.snapshot(entries)
}

func (c *change) snapshot(entries []session.Entry) error {
	h := &c.next.Head
	x := uplink.Index{List: h.List, Epoch: h.Epoch, Version: h.Version, Count: len(entries), Chunks: []session.Digest{}}
	if len(entries) == 0 {
		return c.seal(x)
	}
	err := pack(len(entries), func(i, j int) ([]byte, error) { return uplink.Encode(uplink.Chunk{Put: entries[i:j]}) },
		func(payload []byte) {
			c.chunks = append(c.chunks, payload)
			x.Chunks = append(x.Chunks, sha256.Sum256(payload))
		})
	if err != nil {
		return fmt.Errorf("make snapshot: %w", err)
	}
	return c.seal(x)
}

// seal makes the index the head's snapshot.
func (c *change) seal(x uplink.Index) (err error) {
	h := &c.next.Head
	if c.index, err = uplink.Encode(x); err != nil {
		return fmt.Errorf("make snapshot: index of %d chunks: %w", len(x.Chunks), err)
	}
	c.next.Previous = h.Snapshot.Version
	h.Snapshot = uplink.Snapshot{Version: h.Version, Digest: h.Digest, Index: sha256.Sum256(c.index)}
	c.pushed.Snapshot = true
	return nil
}

// write puts the pieces into the folder and then makes them the list.
func (c *change) write(s *store) error {
	epoch := c.next.Head.Epoch
	for v, b := range c.deltas {
		if err := s.put(epoch, s.topics.Delta(v), b); err != nil {
			return err
		}
	}
	for n, b := range c.chunks {
		if err := s.put(epoch, s.topics.Chunk(c.next.Head.Version, n), b); err != nil {
			return err
		}
	}
	if c.index != nil {
		if err := s.put(epoch, s.topics.Index(c.next.Head.Version), c.index); err != nil {
			return err
		}
	}
	return s.commit(c.next)
}

// topics names the new pieces.
func (c *change) topics(t uplink.ListTopics) []string {
	var topics []string
	for v := c.pushed.From + 1; v <= c.next.Head.Version && c.deltas[v] != nil; v++ {
		topics = append(topics, t.Delta(v))
	}
	for n := range c.chunks {
		topics = append(topics, t.Chunk(c.next.Head.Version, n))
	}
	if c.index != nil {
		topics = append(topics, t.Index(c.next.Head.Version))
	}
	return topics
}

// pack cuts n things into payloads as long as the bounds allow, and at least one.
func pack(n int, encode func(i, j int) ([]byte, error), add func(payload []byte)) error {
	size := 2500
	for i := 0; ; {
		j := min(i+size, n)
		payload, err := encode(i, j)
		switch {
		case errors.Is(err, uplink.ErrTooLong) && j-i > 1:
			size = (j - i) / 2
			continue
		case err != nil:
			return err
		}
		add(payload)
		if len(payload) < uplink.MaxPayload*2/3 {
			size = min(size*5/4+1, uplink.MaxItems)
		}
		if i = j; i >= n {
			return nil
		}
	}
}
