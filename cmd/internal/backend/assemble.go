package backend

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"badged/session"
	"badged/uplink"
)

// assemble makes the list that a head stands for out of its snapshot and the
// deltas after it, and checks every digest and the count on the way.
func assemble(h uplink.Head, piece func(topic string) ([]byte, error)) (map[session.IDToken]session.Entry, error) {
	topics := uplink.ListTopics(h.List)
	b, err := piece(topics.Index(h.Snapshot.Version))
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != h.Snapshot.Index {
		return nil, fmt.Errorf("index of snapshot %d has another hash than the head says", h.Snapshot.Version)
	}
	x, err := uplink.DecodeIndex(b)
	if err != nil {
		return nil, err
	}
	entries := make(map[session.IDToken]session.Entry, x.Count)
	for n, sum := range x.Chunks {
		if err := addChunk(entries, topics.Chunk(h.Snapshot.Version, n), sum, piece); err != nil {
			return nil, fmt.Errorf("snapshot %d, chunk %d: %w", h.Snapshot.Version, n, err)
		}
	}
	if len(entries) != x.Count {
		return nil, fmt.Errorf("snapshot %d has %d entries, its index says %d", h.Snapshot.Version, len(entries), x.Count)
	}
	return entries, follow(h, entries, piece)
}

func addChunk(entries map[session.IDToken]session.Entry, topic string, sum session.Digest, piece func(string) ([]byte, error)) error {
	b, err := piece(topic)
	if err != nil {
		return err
	}
	if sha256.Sum256(b) != sum {
		return errors.New("has another hash than the index says")
	}
	c, err := uplink.DecodeChunk(b)
	if err != nil {
		return err
	}
	for _, e := range c.Put {
		if _, twice := entries[e.UID]; twice {
			return fmt.Errorf("badge %s stands in another chunk too", e.UID)
		}
		entries[e.UID] = e
	}
	return nil
}

// follow applies the deltas after the snapshot.
func follow(h uplink.Head, entries map[session.IDToken]session.Entry, piece func(string) ([]byte, error)) error {
	digest := h.Snapshot.Digest
	for v := h.Snapshot.Version + 1; v <= h.Version; v++ {
		b, err := piece(uplink.ListTopics(h.List).Delta(v))
		if err != nil {
			return err
		}
		digest = uplink.NextDigest(digest, v, b)
		d, err := uplink.DecodeDelta(b)
		if err != nil {
			return err
		}
		if d.List != h.List || d.Epoch != h.Epoch || d.Version != v {
			return fmt.Errorf("delta %d says it is %d.%d of %q", v, d.Epoch, d.Version, d.List)
		}
		maps.Copy(entries, byUID(d.Put))
		for _, uid := range d.Remove {
			delete(entries, uid)
		}
	}
	if digest != h.Digest {
		return fmt.Errorf("the deltas do not lead to the digest of version %d", h.Version)
	}
	if len(entries) != h.Count {
		return fmt.Errorf("%d entries at version %d, the head says %d", len(entries), h.Version, h.Count)
	}
	return nil
}

func byUID(entries []session.Entry) map[session.IDToken]session.Entry {
	m := make(map[session.IDToken]session.Entry, len(entries))
	for _, e := range entries {
		m[e.UID] = e
	}
	return m
}

// differ is the delta from one list to another, sorted by UID.
func differ(old map[session.IDToken]session.Entry, now []session.Entry) session.Delta {
	var d session.Delta
	stays := make(map[session.IDToken]bool, len(now))
	for _, e := range now {
		stays[e.UID] = true
		if was, ok := old[e.UID]; !ok || !same(was, e) {
			d.Put = append(d.Put, e)
		}
	}
	for uid := range old {
		if !stays[uid] {
			d.Remove = append(d.Remove, uid)
		}
	}
	slices.Sort(d.Remove)
	return d
}
