package backend_test

import (
	"context"
	"testing"
	"time"

	"badged/cmd/internal/backend"
	"badged/uplink"
)

// watch has the broker's copy kept whole from the publisher's folder, which it frees.
func watch(t *testing.T, p *backend.Publisher, reports chan error) {
	t.Helper()
	open := p.Reopen()
	background(t, func(ctx context.Context) error {
		return backend.Watch(ctx, open, func(_ int, err error) { reports <- err })
	})
}

func TestWatchRepairsAtOnceAndGoesOnAfterErrors(t *testing.T) {
	dir, first := t.TempDir(), broker(t)
	p := publisher(t, dir, first)
	push(t, p, badges(0, 5), backend.PushOpts{})
	p.Close()
	q := publisher(t, dir, broker(t))
	reports := make(chan error, 10)
	watch(t, q, reports)
	if err := <-reports; err != nil {
		t.Errorf("got %v, want the broker repaired", err)
	}
	empty := publisher(t, t.TempDir(), first)
	watch(t, empty, reports)
	if err := <-reports; err == nil {
		t.Error("got a repair of a list by another key, want an error")
	}
}

// A broker that lost a piece, or the key set, and still has the head is whole again
// by the first look of Watch, and within the hour later.
func TestWatchReadsAllOfTheList(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 5), backend.PushOpts{})
	vandal(t, b, uplink.ListTopics("desk").Chunk(1, 0), nil)
	reports := make(chan error, 10)
	watch(t, p, reports)
	if err := <-reports; err != nil {
		t.Errorf("got %v, want the broker repaired", err)
	}
	if _, n := verified(t, dir, b); n != 5 {
		t.Errorf("got %d badges, want 5", n)
	}
}

func TestWatchSignsTheHeadDaily(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 5), backend.PushOpts{})
	before, _ := verified(t, dir, b)
	p.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	reports := make(chan error, 10)
	watch(t, p, reports)
	if err := <-reports; err != nil {
		t.Error(err)
	}
	after, _ := verified(t, dir, b)
	if d := after.IssuedAt.Sub(before.IssuedAt); after.Digest != before.Digest || d < 24*time.Hour {
		t.Errorf("got a head of %v later, digest %v; want the same list a day later", d, after.Digest)
	}
}
