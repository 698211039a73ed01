package uplink

import (
	"context"

	"badged/session"
)

// ListStore keeps the list. One goroutine calls it. Every method leaves the list
// in force whole, whatever happens in the middle of it.
type ListStore interface {
	// InForce is the version in force, the zero value while there is none.
	InForce(ctx context.Context) (session.ListVersion, error)
	// ApplyDeltas leads from the version in force to another, all or nothing. It
	// refuses when to.Count does not come out.
	ApplyDeltas(ctx context.Context, from, to session.ListVersion, deltas []session.Delta) error
	// Stage keeps one chunk, from 0, of the snapshot of to; twice is as good as once.
	Stage(ctx context.Context, to session.ListVersion, chunk int, entries []session.Entry) error
	// Staged tells which chunks of the snapshot of to are kept.
	Staged(ctx context.Context, to session.ListVersion) ([]int, error)
	// Activate puts the staged snapshot in force. It refuses when to.Count does not
	// come out.
	Activate(ctx context.Context, to session.ListVersion, chunks int) error
	// Refresh notes that the version in force was issued again, at to.IssuedAt.
	Refresh(ctx context.Context, to session.ListVersion) error
	// Discard drops what is staged.
	Discard(ctx context.Context) error
}

// Ratchet remembers the highest head of each list apart from the list itself, so
// that losing the list's file opens the way neither back to an older list nor to
// another one of the same version.
type Ratchet interface {
	// HighestHead is what RaiseHead was told, IssuedAt aside; the zero value if
	// nothing. A zero digest is one that is not known.
	HighestHead(ctx context.Context, list string) (session.ListVersion, error)
	// RaiseHead keeps v durably, unless a higher head or this one is kept already.
	RaiseHead(ctx context.Context, v session.ListVersion) error
}

// ListState is what the status says of the list's way here.
type ListState struct {
	// State is "none" (no list yet), "current", "fetching", or "incomplete" (what the
	// head promises could not be had; it is tried again).
	State   string `json:"state"`
	Epoch   uint64 `json:"epoch"`   // of the newest head accepted in this run
	Version uint64 `json:"version"` // of the newest head accepted in this run
	Refused uint64 `json:"refused"` // messages refused in this run
	Keys    uint64 `json:"keys"`    // sequence of the key set in force; 0: the pinned keys
	Last    string `json:"lastRefusal,omitempty"`
}

// ListEvent is something that happened to the list, for log and telemetry.
type ListEvent struct {
	Kind   string              // ListApplied …
	List   session.ListVersion // in force after it
	Reason error               // of ListRefused and ListStalled
}

// The kinds of a ListEvent.
const (
	ListApplied   = "applied"   // another version is in force
	ListRefreshed = "refreshed" // the version in force was issued again
	ListRefused   = "refused"   // a message was refused, the list in force stays
	ListRekeyed   = "rekeyed"   // a root replaced the keys
	ListStalled   = "stalled"   // a way to the head leads nowhere at the moment
)
