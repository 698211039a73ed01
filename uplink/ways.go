package uplink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"badged/session"
)

// way is a set of messages to collect that leads to a later version.
type way interface {
	// wanted lists at most n topics that are still missing.
	wanted(n int) []string
	// take keeps a piece. A piece that hashes wrong is refused with errPiece and
	// may come again; any other error is a dead end.
	take(ctx context.Context, topic string, payload []byte) error
	// finish puts the version in force once nothing is wanted.
	finish(ctx context.Context) (session.ListVersion, error)
}

var errPiece = errors.New("does not have the hash that was announced")

const (
	maxChain      = 1000    // deltas worth fetching instead of a snapshot
	maxChainBytes = 4 << 20 // of their payloads, which are held in memory
	maxChainItems = 100_000 // entries in all of them
)

// deltaWay is the chain of deltas from the version in force to the head. A delta
// can only be judged with all of them there: the head vouches for the chain's end.
type deltaWay struct {
	topics ListTopics
	store  ListStore
	from   session.ListVersion
	to     session.ListVersion
	pieces map[uint64][]byte
	bytes  int
}

func newDeltaWay(t ListTopics, store ListStore, from, to session.ListVersion) *deltaWay {
	return &deltaWay{topics: t, store: store, from: from, to: to, pieces: make(map[uint64][]byte)}
}

func (w *deltaWay) wanted(n int) []string {
	var topics []string
	for v := w.from.Version + 1; v <= w.to.Version && len(topics) < n; v++ {
		if w.pieces[v] == nil {
			topics = append(topics, w.topics.Delta(v))
		}
	}
	return topics
}

func (w *deltaWay) take(_ context.Context, topic string, payload []byte) error {
	for v := w.from.Version + 1; v <= w.to.Version; v++ {
		if topic != w.topics.Delta(v) {
			continue
		}
		w.bytes += len(payload) - len(w.pieces[v])
		if len(payload) > MaxPayload || w.bytes > maxChainBytes {
			return errors.New("deltas are too long, a snapshot is shorter")
		}
		w.pieces[v] = payload
	}
	return nil
}

func (w *deltaWay) finish(ctx context.Context) (session.ListVersion, error) {
	digest := w.from.Digest
	for v := w.from.Version + 1; v <= w.to.Version; v++ {
		digest = NextDigest(digest, v, w.pieces[v])
	}
	if digest != w.to.Digest {
		return session.ListVersion{}, fmt.Errorf("deltas %d to %d do not lead to the head's digest", w.from.Version+1, w.to.Version)
	}
	deltas, err := w.decode()
	if err != nil {
		return session.ListVersion{}, err
	}
	if err := w.store.ApplyDeltas(ctx, w.from, w.to, deltas); err != nil {
		return session.ListVersion{}, fmt.Errorf("apply deltas to version %d: %w", w.to.Version, err)
	}
	return w.to, nil
}

func (w *deltaWay) decode() ([]session.Delta, error) {
	var deltas []session.Delta
	items := 0
	for v := w.from.Version + 1; v <= w.to.Version; v++ {
		d, err := DecodeDelta(w.pieces[v])
		if err != nil {
			return nil, err
		}
		if d.List != w.to.List || d.Epoch != w.to.Epoch || d.Version != v {
			return nil, fmt.Errorf("delta %d says it is %d.%d of %.64q", v, d.Epoch, d.Version, d.List)
		}
		if items += len(d.Put) + len(d.Remove); items > maxChainItems {
			return nil, errors.New("deltas are too many, a snapshot is shorter")
		}
		deltas = append(deltas, d.Delta)
	}
	return deltas, nil
}

// snapshotWay is the whole list at one version: an index, then its chunks. What
// is verified goes to the store at once, so a restart goes on where it was.
type snapshotWay struct {
	topics ListTopics
	store  ListStore
	want   session.Digest // of the index
	to     session.ListVersion
	index  *Index // nil before it came
	staged []bool
}

func newSnapshotWay(store ListStore, h Head) *snapshotWay {
	to := h.At()
	to.Version, to.Digest, to.Count = h.Snapshot.Version, h.Snapshot.Digest, 0
	return &snapshotWay{topics: ListTopics(h.List), store: store, want: h.Snapshot.Index, to: to}
}

func (w *snapshotWay) wanted(n int) []string {
	if w.index == nil {
		return []string{w.topics.Index(w.to.Version)}
	}
	var topics []string
	for i := range w.staged {
		if !w.staged[i] && len(topics) < n {
			topics = append(topics, w.topics.Chunk(w.to.Version, i))
		}
	}
	return topics
}

func (w *snapshotWay) take(ctx context.Context, topic string, payload []byte) error {
	if topic == w.topics.Index(w.to.Version) {
		return w.takeIndex(ctx, payload)
	}
	for i := range w.staged {
		if topic == w.topics.Chunk(w.to.Version, i) {
			return w.takeChunk(ctx, i, payload)
		}
	}
	return nil
}

func (w *snapshotWay) takeIndex(ctx context.Context, payload []byte) error {
	if sha256.Sum256(payload) != w.want {
		return fmt.Errorf("index %d: %w", w.to.Version, errPiece)
	}
	x, err := DecodeIndex(payload)
	if err != nil {
		return err
	}
	if x.List != w.to.List || x.Epoch != w.to.Epoch || x.Version != w.to.Version {
		return fmt.Errorf("index %d says it is %d.%d of %.64q", w.to.Version, x.Epoch, x.Version, x.List)
	}
	w.to.Count = x.Count
	chunks, err := w.store.Staged(ctx, w.to)
	if err != nil {
		return fmt.Errorf("read staged chunks: %w", err)
	}
	if len(chunks) == 0 {
		if err := w.store.Discard(ctx); err != nil {
			return fmt.Errorf("discard staged chunks: %w", err)
		}
	}
	w.index, w.staged = &x, make([]bool, len(x.Chunks))
	for i := range w.staged {
		w.staged[i] = slices.Contains(chunks, i)
	}
	return nil
}

func (w *snapshotWay) takeChunk(ctx context.Context, n int, payload []byte) error {
	if sha256.Sum256(payload) != w.index.Chunks[n] {
		return fmt.Errorf("chunk %d of snapshot %d: %w", n, w.to.Version, errPiece)
	}
	if w.staged[n] {
		return nil
	}
	c, err := DecodeChunk(payload)
	if err != nil {
		return err
	}
	if err := w.store.Stage(ctx, w.to, n, c.Put); err != nil {
		return fmt.Errorf("stage chunk %d of snapshot %d: %w", n, w.to.Version, err)
	}
	w.staged[n] = true
	return nil
}

func (w *snapshotWay) finish(ctx context.Context) (session.ListVersion, error) {
	if err := w.store.Activate(ctx, w.to, len(w.staged)); err != nil {
		// What was staged hashed right and yet does not add up: it must not be kept.
		return session.ListVersion{}, errors.Join(fmt.Errorf("activate snapshot %d: %w", w.to.Version, err), w.store.Discard(ctx))
	}
	return w.to, nil
}
