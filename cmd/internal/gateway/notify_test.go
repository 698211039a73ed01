package gateway

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/session"
	"badged/uplink"
)

// stuck is a journal whose disk hangs.
type stuck struct{ release chan struct{} }

func (s stuck) Commit(context.Context, session.Commit) error      { <-s.release; return nil }
func (s stuck) States(context.Context) (map[string][]byte, error) { return nil, nil }
func (s stuck) Lookup(context.Context, session.IDToken) (session.Listing, error) {
	return session.Listing{}, nil
}

func TestWatchdogStarvesWhenACommitHangs(t *testing.T) {
	c, h := boot("b", noon)
	s := stuck{make(chan struct{})}
	g := &gateway{clock: c, up: &uplink.Client{}}
	g.ctl = session.NewController(session.Config{}, session.Deps{List: s, Journal: s, Clock: c.Stamp, Alive: func() { g.turned.Store(int64(uptime())) }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.ctl.Run(ctx) }()
	g.ctl.Record(session.ClockAnchor{})
	for g.ctl.Writing() == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := g.hung(time.Minute); got != "" {
		t.Error("got a starved watchdog as soon as a commit began, want it fed")
	}
	h.pass(commitTimeout)
	if got := g.hung(time.Minute); got != "journal" {
		t.Errorf("got a fed watchdog after %v in one commit, want it starved", g.ctl.Writing())
	}
	close(s.release)
	for g.ctl.Writing() != 0 {
		time.Sleep(time.Millisecond)
	}
	if got := g.hung(time.Minute); got != "" {
		t.Error("got a starved watchdog after the disk came back, want it fed")
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// wires is a chip that cannot be opened, at once or never.
type wires struct {
	*bench
	hang chan struct{}
}

func (w *wires) Chip(config.Reader) (Chip, error) {
	<-w.hang
	return Chip{}, errors.New("no SPI device on this board")
}

// A dead reader is no reason to restart; one whose bus hangs is.
func TestWatchdogStarvesWhenAReaderHangs(t *testing.T) {
	c, _ := boot("b", noon)
	s := stuck{make(chan struct{})}
	hw := &wires{&bench{}, make(chan struct{})}
	g := &gateway{clock: c, up: &uplink.Client{}, hw: hw, hub: &control.Hub{}, log: slog.New(slog.DiscardHandler)}
	g.ctl = session.NewController(session.Config{}, session.Deps{List: s, Journal: s, Clock: c.Stamp})
	r := &badgeReader{gateway: g, cfg: config.Reader{Name: "hall"}}
	g.readers = append(g.readers, r)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- r.run(ctx) }()

	hung := func(within time.Duration) string {
		g.turned.Store(int64(uptime())) // the controller does not run here
		return g.hung(within)
	}
	await := func(want string, within time.Duration) {
		t.Helper()
		for end := time.Now().Add(time.Minute); hung(within) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("got %q within a minute, want %q", hung(within), want)
			}
		}
	}
	await("reader hall", 100*time.Millisecond)
	close(hw.hang)
	await("", 10*time.Second)
	first := r.turned.Load()
	for end := time.Now().Add(time.Minute); r.turned.Load() == first; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("got no turn of a dead reader within a minute, want one a second")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
