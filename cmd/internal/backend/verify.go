package backend

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
	"badged/uplink"
)

// Show reads the list's head from the broker and checks its signature.
func Show(ctx context.Context, b BrokerOpts, list string, keys jose.JSONWebKeySet) (uplink.Head, error) {
	l, err := connect(ctx, b, settle)
	if err != nil {
		return uplink.Head{}, err
	}
	defer l.Close()
	return l.show(ctx, list, keys)
}

func (l *link) show(ctx context.Context, list string, keys jose.JSONWebKeySet) (uplink.Head, error) {
	topic := uplink.ListTopics(list).Head()
	found, err := l.fetch(ctx, topic)
	if err != nil {
		return uplink.Head{}, err
	}
	if found[topic] == nil {
		return uplink.Head{}, fmt.Errorf("the broker has no list %q (was it pushed? may this user read %s?)", list, topic)
	}
	return uplink.ParseHead(found[topic], keys, list)
}

// Verify fetches all of the list that the broker holds as a gateway would,
// checks the signature, every digest and the count, and returns the head and the
// badges.
func Verify(ctx context.Context, b BrokerOpts, list string, keys jose.JSONWebKeySet) (uplink.Head, []session.Entry, error) {
	l, err := connect(ctx, b, settle)
	if err != nil {
		return uplink.Head{}, nil, err
	}
	defer l.Close()
	h, err := l.show(ctx, list, keys)
	if err != nil {
		return h, nil, err
	}
	pieces, err := l.pieces(ctx, h)
	if err != nil {
		return h, nil, fmt.Errorf("verify: %w", err)
	}
	entries, err := assemble(h, func(topic string) ([]byte, error) {
		if pieces[topic] == nil {
			return nil, fmt.Errorf("the broker does not have %s", topic)
		}
		return pieces[topic], nil
	})
	if err != nil {
		return h, nil, fmt.Errorf("verify: %w", err)
	}
	return h, entries, nil
}

// pieces fetches all that the head names; what is missing is missing.
func (l *link) pieces(ctx context.Context, h uplink.Head) (map[string][]byte, error) {
	topics := uplink.ListTopics(h.List)
	at := topics.Index(h.Snapshot.Version)
	all, err := l.fetch(ctx, at)
	if err != nil {
		return nil, err
	}
	if all[at] == nil || sha256.Sum256(all[at]) != h.Snapshot.Index {
		return all, nil // assemble says what is wrong
	}
	x, err := uplink.DecodeIndex(all[at])
	if err != nil {
		return nil, err
	}
	var names []string
	for n := range x.Chunks {
		names = append(names, topics.Chunk(h.Snapshot.Version, n))
	}
	if h.Version-h.DeltasFrom > 10_000 {
		return nil, errors.New("the head names more than 10000 deltas")
	}
	for v := h.DeltasFrom + 1; v <= h.Version; v++ {
		names = append(names, topics.Delta(v))
	}
	for some := range slices.Chunk(names, batch) {
		found, err := l.fetch(ctx, some...)
		if err != nil {
			return nil, err
		}
		for _, name := range some {
			if found[name] == nil {
				return nil, fmt.Errorf("the broker does not have %s", name)
			}
			all[name] = found[name]
		}
	}
	return all, nil
}

// KeysNow is who may sign the list, as a gateway sees it that pins keys and roots:
// those of the broker's key set, if a root has signed one, with its sequence.
func KeysNow(ctx context.Context, b BrokerOpts, list string, pinned, roots jose.JSONWebKeySet) (jose.JSONWebKeySet, uint64, error) {
	l, err := connect(ctx, b, settle)
	if err != nil {
		return pinned, 0, err
	}
	defer l.Close()
	topic := uplink.ListTopics(list).Keys()
	found, err := l.fetch(ctx, topic)
	if err != nil || found[topic] == nil {
		return pinned, 0, err
	}
	set, err := uplink.ParseKeySet(found[topic], roots, list)
	return set.ListKeys, set.Sequence, err
}

// Stored is the list in a publisher's folder as it was pushed last, without a
// broker or a key.
func Stored(dir, list string) (uplink.Head, []session.Entry, error) {
	if _, err := os.Stat(filepath.Join(dir, list)); err != nil {
		return uplink.Head{}, nil, fmt.Errorf("open store: %w", err) // rather than make one
	}
	s, err := openStore(dir, list)
	if err != nil {
		return uplink.Head{}, nil, err
	}
	defer s.lock.Close()
	if s.saved.Head.Version == 0 {
		return uplink.Head{}, nil, ErrNothing
	}
	entries, err := s.load()
	return s.saved.Head, entries, err
}
