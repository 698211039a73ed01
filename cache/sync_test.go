package cache_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

func TestSnapshotResumesAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.db")
	l := openList(t, path)
	v := load(t, l, 5)
	to := version(9, 6)
	for _, chunk := range []int{2, 0, 2} { // in any order, twice is once
		if err := l.Stage(t.Context(), to, chunk, entries(10+2*chunk, 12+2*chunk)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	l = openList(t, path)
	if got, err := l.Staged(t.Context(), to); err != nil || !reflect.DeepEqual(got, []int{0, 2}) {
		t.Fatalf("got chunks %v, want 0 and 2 (%v)", got, err)
	}
	if got, err := l.Staged(t.Context(), version(8, 6)); err != nil || len(got) != 0 {
		t.Errorf("got chunks %v of another version, want none (%v)", got, err)
	}
	if got := lookup(t, l, badge(10)); got.Found || got.List != v {
		t.Errorf("got %+v, want nothing of what is staged", got)
	}
	if err := errors.Join(l.Stage(t.Context(), to, 1, entries(12, 14)), l.Activate(t.Context(), to, 3)); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{0: false, 10: true, 13: true, 15: true} {
		if got := lookup(t, l, badge(n)); got.Found != want || got.List != to {
			t.Errorf("badge %d: got %v in %v, want %v in %v", n, got.Found, got.List, want, to)
		}
	}
}

func TestAnotherSnapshotDropsTheStagedOne(t *testing.T) {
	l := newList(t)
	if err := errors.Join(l.Stage(t.Context(), version(2, 3), 0, entries(0, 3)), l.Stage(t.Context(), version(3, 2), 0, entries(1, 3)),
		l.Activate(t.Context(), version(3, 2), 1)); err != nil {
		t.Fatal(err)
	}
	if lookup(t, l, badge(0)).Found || !lookup(t, l, badge(1)).Found {
		t.Error("got entries of the dropped snapshot, want those of the other")
	}
}

func TestEmptySnapshotClearsTheList(t *testing.T) {
	l := newList(t)
	load(t, l, 3)
	if err := l.Activate(t.Context(), version(2, 0), 0); err != nil {
		t.Fatal(err)
	}
	if got := lookup(t, l, badge(1)); got.Found || got.List.Version != 2 {
		t.Errorf("got %+v, want an empty version 2", got)
	}
	if err := l.ApplyDeltas(t.Context(), version(2, 0), version(3, 1), []session.Delta{{Put: entries(1, 2)}}); err != nil {
		t.Fatal(err)
	}
	tidy(t, l)
	if !lookup(t, l, badge(1)).Found {
		t.Error("got nothing, want what the delta put")
	}
}

// tidy returns how many commits it took.
func tidy(t testing.TB, l *cache.List) int {
	t.Helper()
	for n := 1; ; n++ {
		more, err := l.Tidy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return n
		}
	}
}

func TestTidyLeavesWhatIsInForceAndStaged(t *testing.T) {
	l := newList(t)
	for n := uint64(1); n <= 3; n++ {
		to := version(n, 6000)
		if err := errors.Join(l.Stage(t.Context(), to, 0, entries(0, 6000)), l.Activate(t.Context(), to, 1)); err != nil {
			t.Fatal(err)
		}
	}
	to := version(4, 10)
	if err := l.Stage(t.Context(), to, 0, entries(0, 10)); err != nil {
		t.Fatal(err)
	}
	if n := tidy(t, l); n < 4 {
		t.Errorf("got %d commits, want slices of at most 5,000 entries", n)
	}
	for n := range 6000 {
		if !lookup(t, l, badge(n)).Found {
			t.Fatalf("badge %d: got nothing, want the list in force whole", n)
		}
	}
	if err := l.Activate(t.Context(), to, 1); err != nil {
		t.Error(err)
	}
}

func TestRefreshMovesOnlyTheDate(t *testing.T) {
	l := newList(t)
	v := load(t, l, 3)
	for _, c := range []struct{ issued, want time.Time }{
		{v.IssuedAt.Add(time.Hour), v.IssuedAt.Add(time.Hour)},
		{v.IssuedAt, v.IssuedAt.Add(time.Hour)},
	} {
		to := v
		to.IssuedAt = c.issued
		if err := l.Refresh(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if got := lookup(t, l, badge(1)); !got.Found || !got.List.IssuedAt.Equal(c.want) || got.List.Version != v.Version {
			t.Errorf("got %+v, want issued at %v", got, c.want)
		}
	}
}

// TestLookupsSeeOneVersion looks up while versions change: account and version
// must always belong together.
func TestLookupsSeeOneVersion(t *testing.T) {
	l := newList(t)
	if err := errors.Join(l.Stage(t.Context(), version(1, 6), 0, ofVersion(1)), l.Activate(t.Context(), version(1, 6), 1)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		defer close(done)
		for n := uint64(2); n < 150; n++ {
			var err error
			if n%2 == 0 {
				err = l.ApplyDeltas(context.Background(), version(n-1, 6), version(n, 6), []session.Delta{{Put: ofVersion(n)}})
			} else {
				err = replace(context.Background(), l, version(n-1, 6), version(n, 6))
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		got := lookup(t, l, badge(n%6))
		if got.Entry.Account != fmt.Sprint(got.List.Version) {
			t.Fatalf("got an entry of version %s said to be of %d", got.Entry.Account, got.List.Version)
		}
	}
}
