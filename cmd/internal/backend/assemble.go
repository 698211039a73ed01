package backend

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"badged/session"
	"badged/uplink"
)

// A list is a slice sorted by UID, without repeats: a million badges are 200 MB, and
// twice that in a map.

func byUID(a, b session.Entry) int { return cmp.Compare(a.UID, b.UID) }

// inOrder is the list of these entries, which it leaves as they are.
func inOrder(entries []session.Entry) ([]session.Entry, error) {
	if !slices.IsSortedFunc(entries, byUID) {
		entries = slices.Clone(entries)
		slices.SortFunc(entries, byUID)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].UID == entries[i-1].UID {
			return nil, fmt.Errorf("badge %s stands in it twice", entries[i].UID.Masked())
		}
	}
	return entries, nil
}

// assemble makes the list that a head stands for out of its snapshot and the
// deltas after it, and checks every digest and the count on the way.
func assemble(h uplink.Head, piece func(topic string) ([]byte, error)) ([]session.Entry, error) {
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
	entries := make([]session.Entry, 0, x.Count)
	for n, sum := range x.Chunks {
		if entries, err = addChunk(entries, topics.Chunk(h.Snapshot.Version, n), sum, piece); err != nil {
			return nil, fmt.Errorf("snapshot %d, chunk %d: %w", h.Snapshot.Version, n, err)
		}
	}
	if len(entries) != x.Count {
		return nil, fmt.Errorf("snapshot %d has %d entries, its index says %d", h.Snapshot.Version, len(entries), x.Count)
	}
	if entries, err = inOrder(entries); err != nil {
		return nil, fmt.Errorf("snapshot %d: %w", h.Snapshot.Version, err)
	}
	return follow(h, entries, piece)
}

func addChunk(entries []session.Entry, topic string, sum session.Digest, piece func(string) ([]byte, error)) ([]session.Entry, error) {
	b, err := piece(topic)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != sum {
		return nil, errors.New("has another hash than the index says")
	}
	c, err := uplink.DecodeChunk(b)
	return append(entries, c.Put...), err
}

// follow applies the deltas after the snapshot.
func follow(h uplink.Head, entries []session.Entry, piece func(string) ([]byte, error)) ([]session.Entry, error) {
	digest := h.Snapshot.Digest
	changed := make(map[session.IDToken]*session.Entry) // nil: removed
	for v := h.Snapshot.Version + 1; v <= h.Version; v++ {
		b, err := piece(uplink.ListTopics(h.List).Delta(v))
		if err != nil {
			return nil, err
		}
		digest = uplink.NextDigest(digest, v, b)
		d, err := uplink.DecodeDelta(b)
		if err != nil {
			return nil, err
		}
		if d.List != h.List || d.Epoch != h.Epoch || d.Version != v {
			return nil, fmt.Errorf("delta %d says it is %d.%d of %q", v, d.Epoch, d.Version, d.List)
		}
		for i := range d.Put {
			changed[d.Put[i].UID] = &d.Put[i]
		}
		for _, uid := range d.Remove {
			changed[uid] = nil
		}
	}
	entries = changedBy(entries, changed)
	if digest != h.Digest {
		return nil, fmt.Errorf("the deltas do not lead to the digest of version %d", h.Version)
	}
	if len(entries) != h.Count {
		return nil, fmt.Errorf("%d entries at version %d, the head says %d", len(entries), h.Version, h.Count)
	}
	return entries, nil
}

// changedBy is the list after the changes; it takes the place of entries.
func changedBy(entries []session.Entry, changes map[session.IDToken]*session.Entry) []session.Entry {
	if len(changes) == 0 {
		return entries
	}
	entries = slices.DeleteFunc(entries, func(e session.Entry) bool { _, is := changes[e.UID]; return is })
	for _, e := range changes {
		if e != nil {
			entries = append(entries, *e)
		}
	}
	slices.SortFunc(entries, byUID)
	return entries
}

// differ is the delta from one list to another.
func differ(old, now []session.Entry) session.Delta {
	if len(old) == 0 {
		return session.Delta{Put: now}
	}
	var d session.Delta
	for _, e := range now {
		for len(old) > 0 && old[0].UID < e.UID {
			d.Remove, old = append(d.Remove, old[0].UID), old[1:]
		}
		if len(old) == 0 || old[0].UID != e.UID || !same(old[0], e) {
			d.Put = append(d.Put, e)
		}
		if len(old) > 0 && old[0].UID == e.UID {
			old = old[1:]
		}
	}
	for _, e := range old {
		d.Remove = append(d.Remove, e.UID)
	}
	return d
}
