package station

import (
	"context"
	"time"
)

// Output is a line that drives something; its polarity is already dealt with.
// Close releases the line, whatever that does to its level.
type Output interface {
	Set(on bool) error
	Close() error
}

// Edge is a change of an input as its line reports it.
type Edge struct {
	Active bool
	At     time.Duration // CLOCK_MONOTONIC at the edge
	Seq    uint32        // counts the line's edges from 1; a gap means that the queue overflowed
}

// Input is a line that is listened to; its polarity is already dealt with.
type Input interface {
	Active() (bool, error)
	// Edges calls f for each edge until ctx ends (nil) or the line fails.
	Edges(ctx context.Context, f func(Edge)) error
	Close() error
}
