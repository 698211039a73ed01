package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
)

// A board's clock is a file of the world's, which the gateway reads whenever it
// looks at the clock. While nobody has set it there is none, and the clock is
// this machine's.

// boardClock is what is in the file.
type boardClock struct {
	BootID  string        `json:"bootId"`
	Booted  time.Duration `json:"booted"` // CLOCK_BOOTTIME of this machine at which the boot began
	AheadMs int64         `json:"aheadMs"`
	Source  string        `json:"source"`
}

func clockFile(dir string) string { return filepath.Join(dir, "clock.json") }

func readClock(dir string) (c boardClock, err error) {
	b, err := os.ReadFile(clockFile(dir))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// forgetClock makes the board's clock this machine's, as at every new world.
func (w *world) forgetClock() error {
	if err := os.Remove(clockFile(w.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the board's clock: %w", err)
	}
	return nil
}

// setClock sets the board's clock, for a running gateway and those to come.
func (w *world) setClock(_ context.Context, r control.Clock) (done, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := readClock(w.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Boot = true // the first of this world
	case err != nil:
		return done{}, err
	}
	if r.Boot {
		c.BootID, c.Booted = strings.ToLower(rand.Text()), bootTime()
	}
	c.AheadMs, c.Source = r.AheadMs, r.Source
	b, err := json.Marshal(c)
	if err != nil {
		return done{}, err
	}
	fresh := clockFile(w.dir) + ".new"
	if err := errors.Join(os.WriteFile(fresh, b, 0o600), os.Rename(fresh, clockFile(w.dir))); err != nil {
		return done{}, fmt.Errorf("set the board's clock: %w", err)
	}
	w.note(control.Change{What: control.ChangeClock, AheadMs: c.AheadMs, Source: c.Source})
	if r.Boot {
		w.note(control.Change{What: control.ChangeBoot, BootID: c.BootID})
		w.history[len(w.history)-1].AtUs = c.Booted.Microseconds()
	}
	return done{}, nil
}

// Clock is the board's, where the world has set it.
func (h *deskHardware) Clock() (gateway.BoardClock, bool) {
	first, err := readClock(h.dir)
	if err != nil {
		return gateway.BoardClock{}, false
	}
	now := func() boardClock {
		if c, err := readClock(h.dir); err == nil {
			return c
		}
		return first
	}
	return gateway.BoardClock{
		BootID: first.BootID,
		Up:     func() time.Duration { return bootTime() - first.Booted },
		Wall:   func() time.Time { return time.Now().Add(time.Duration(now().AheadMs) * time.Millisecond) },
		Source: func() string { return now().Source },
	}, true
}
