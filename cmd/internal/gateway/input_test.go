package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"badged/station"
)

// bouncy is an input that a test moves. Its edges come as the kernel's do.
type bouncy struct {
	*bench
	level atomic.Bool
	edges chan station.Edge
	fails chan error
}

func (b *bouncy) Input(string) (station.Input, error) { return b, nil }
func (b *bouncy) Active() (bool, error)               { return b.level.Load(), nil }

func (b *bouncy) Edges(ctx context.Context, f func(station.Edge)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-b.fails:
			return err
		case e := <-b.edges:
			f(e)
		}
	}
}

func (b *bouncy) turn(level bool) {
	b.level.Store(level)
	b.edges <- station.Edge{Active: level}
}

// A plug whose contact bounces as it goes in, or chatters while it is in, is in: one
// that was believed at each bounce ended the session.
func TestBouncingContactIsHeardOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bouncy{edges: make(chan station.Edge), fails: make(chan error)}
		b.level.Store(true) // until the pull-up has done its work
		g := &gateway{hw: b, log: slog.New(slog.DiscardHandler)}
		ctx, stop := context.WithCancel(t.Context())
		var heard []bool
		done := make(chan error)
		go func() { done <- g.runInput(ctx, "GPIO22", func(in bool) { heard = append(heard, in) }) }()
		want := func(all ...bool) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if !slices.Equal(heard, all) {
				t.Errorf("got %v, want %v", heard, all)
			}
		}
		time.Sleep(5 * time.Millisecond)
		b.turn(false)
		want(false)
		bounce := func(last bool) {
			for i := range 9 {
				b.turn(last == (i%2 == 0))
				time.Sleep(8 * time.Millisecond)
			}
		}
		bounce(true)
		want(false, true)
		bounce(false)
		b.turn(true)
		want(false, true)
		b.turn(false)
		want(false, true, false)
		b.fails <- errors.New("the chip is gone")
		b.level.Store(true)
		time.Sleep(retryInput)
		want(false, true, false, true)
		stop()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil at the end", err)
		}
	})
}
