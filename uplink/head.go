package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
)

const (
	maxHead    = 2 << 10
	maxEntries = 2_000_000
	// maxInteger is the largest integer that every JSON parser keeps exactly
	// (RFC 8259, section 6).
	maxInteger = 1<<53 - 1
	headType   = "badged-head"
)

// Head says what the newest version of a list is and how to get there. It is
// the only signed message of a list; everything else hangs on its digests.
type Head struct {
	List    string         `json:"list"`
	Epoch   uint64         `json:"epoch"`   // raised by a publisher that lost its state
	Version uint64         `json:"version"` // from 1, within the epoch
	Digest  session.Digest `json:"digest"`  // see NextDigest
	Count   int            `json:"count"`   // entries of the list at Version
	// DeltasFrom is the lowest version from which the broker's deltas, DeltasFrom+1
	// to Version, lead to the head.
	DeltasFrom uint64    `json:"deltasFrom"`
	Snapshot   Snapshot  `json:"snapshot"`
	IssuedAt   time.Time `json:"issuedAt"`
}

// Snapshot names the whole list at a version: a way to the head for those that
// the deltas do not reach.
type Snapshot struct {
	Version uint64         `json:"version"` // at least the head's DeltasFrom
	Digest  session.Digest `json:"digest"`  // the list's digest at Version
	Index   session.Digest `json:"index"`   // SHA-256 of the index's payload
}

// At is the point in the list's history that h stands for.
func (h Head) At() session.ListVersion {
	return session.ListVersion{List: h.List, Epoch: h.Epoch, Version: h.Version, Digest: h.Digest, Count: h.Count, IssuedAt: h.IssuedAt}
}

// SignHead makes the message for the head's topic: a compact JWS (RFC 7515) by an
// Ed25519 key that has a key id.
func SignHead(h Head, key jose.JSONWebKey) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("sign head: %w", err)
	}
	return sign(h, headType, key)
}

// ParseHead checks who signed the message, that it is a head of that list, and
// that it makes sense in itself. Whether it is newer is for the caller to say.
func ParseHead(message []byte, keys jose.JSONWebKeySet, list string) (Head, error) {
	h, err := parseHead(message, keys)
	if err == nil && h.List != list {
		err = fmt.Errorf("is of the list %.64q, want %q", h.List, list)
	}
	if err != nil {
		return Head{}, fmt.Errorf("head: %w", err)
	}
	return h, nil
}

func parseHead(message []byte, keys jose.JSONWebKeySet) (Head, error) {
	b, err := verify(message, maxHead, headType, keys)
	if err != nil {
		return Head{}, err
	}
	var h Head
	if err := unmarshal(b, &h); err != nil {
		return Head{}, err
	}
	if err := require(b, "list", "epoch", "version", "digest", "count", "deltasFrom", "snapshot", "issuedAt"); err != nil {
		return Head{}, err
	}
	var part struct{ Snapshot json.RawMessage }
	if err := json.Unmarshal(b, &part); err != nil {
		return Head{}, err
	}
	if err := require(part.Snapshot, "version", "digest", "index"); err != nil {
		return Head{}, fmt.Errorf("snapshot: %w", err)
	}
	return h, h.check()
}

func (h Head) check() error {
	switch {
	case CheckID(h.List) != nil:
		return CheckID(h.List)
	case h.Version == 0 || h.Version > maxInteger || h.Epoch > maxInteger:
		return fmt.Errorf("version %d.%d is out of range", h.Epoch, h.Version)
	case h.Count < 0 || h.Count > maxEntries:
		return fmt.Errorf("count %d is out of range 0 to %d", h.Count, maxEntries)
	case h.Snapshot.Version == 0 || h.Snapshot.Version > h.Version || h.DeltasFrom > h.Snapshot.Version:
		return fmt.Errorf("snapshot %d and deltas from %d do not lead to version %d", h.Snapshot.Version, h.DeltasFrom, h.Version)
	case h.Snapshot.Version == h.Version && h.Snapshot.Digest != h.Digest:
		return errors.New("snapshot of the same version has another digest")
	case h.IssuedAt.IsZero():
		return errors.New("issuedAt is missing")
	}
	return nil
}
