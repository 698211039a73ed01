package session

import (
	"context"
	"errors"
)

// ErrFull is what a Journal returns when there is no room for a new session.
// Running sessions still end: a reserve is kept for them.
var ErrFull = errors.New("no room for new sessions")

// Journal keeps sessions over restarts and power cuts. Only the Controller
// calls it, from one goroutine.
type Journal interface {
	// Commit makes c durable before it returns. An error means that nothing of
	// it is; ErrFull, that there is no room for more sessions.
	Commit(ctx context.Context, c Commit) error
	// States returns the states as the last Commit left them.
	States(ctx context.Context) (map[string][]byte, error)
}

// Power is the relay of a station.
type Power interface {
	// Set closes (on) or opens the contact. It returns at once.
	Set(on bool) error
}

// Panel shows a signal to the people at one reader. Show never blocks.
type Panel interface {
	Show(Signal)
}
