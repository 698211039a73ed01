package uplink

import (
	"sync"
	"time"
)

// busy knows since when each loop of a Client has been at its present piece of
// work. A loop that waits for an event is at none. The zero value is ready, and it
// is safe for concurrent use.
type busy struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// do runs f as a piece of work of the loop called what.
func (b *busy) do(what string, f func() error) error {
	b.mu.Lock()
	if b.since == nil {
		b.since = map[string]time.Time{}
	}
	b.since[what] = time.Now()
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.since, what)
		b.mu.Unlock()
	}()
	return f()
}

// longest is the loop that has been at its piece of work for the longest time.
func (b *busy) longest() (what string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w, at := range b.since {
		if took := time.Since(at); took >= d {
			what, d = w, took
		}
	}
	return what, d
}

// Busy is the loop that has been at one piece of work for the longest time, and for
// how long; 0 if all wait. What it asks of a broker is bounded by time-outs, some
// twenty seconds each and a window of records at worst, so that a quarter of an
// hour or more is a loop that hangs, whatever the broker does.
func (c *Client) Busy() (what string, d time.Duration) { return c.busy.longest() }
