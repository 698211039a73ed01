package cache_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/session"
)

// wrecked is a list of n badges with damage that nobody has met yet.
func wrecked(t *testing.T, n int) (*cache.List, session.ListVersion) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.db")
	l := openList(t, path)
	v := load(t, l, n)
	l.Close() // so that nothing is in the log any more
	l = openList(t, path)
	if err := cachetest.Wreck(path); err != nil {
		t.Fatal(err)
	}
	return l, v
}

// readable counts the badges that are found in version v, and fails on any other
// answer than that or ErrDamaged.
func readable(t *testing.T, l *cache.List, n int, v session.ListVersion) (found int) {
	t.Helper()
	for i := range n {
		switch got, err := l.Lookup(t.Context(), badge(i)); {
		case err == nil && got.Found && got.List == v:
			found++
		case !errors.Is(err, cache.ErrDamaged):
			t.Fatalf("badge %d: got %+v, %v, want it in version %d or ErrDamaged", i, got, err, v.Version)
		}
	}
	return found
}

func TestDamagedListAnswersUntilItIsReplaced(t *testing.T) {
	const n = 5000
	l, v := wrecked(t, n)
	if err := l.Damaged(); err != nil {
		t.Fatalf("got %v before anybody looked, want nil", err)
	}
	if err := l.Check(t.Context()); !errors.Is(err, cache.ErrDamaged) || l.Damaged() == nil {
		t.Fatalf("check: got %v, %v, want ErrDamaged", err, l.Damaged())
	}
	before := readable(t, l, n, v)
	if before == 0 || before == n {
		t.Fatalf("got %d of %d badges, want some of them", before, n)
	}
	if got, err := l.Lookup(t.Context(), badge(n)); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("unknown badge: got %+v, %v, want ErrDamaged: it may have stood there", got, err)
	}

	aside, err := l.Rebuild()
	if err != nil || !strings.Contains(aside, "damaged") || l.Damaged() != nil {
		t.Fatalf("got %q, %v, %v, want the file put aside", aside, err, l.Damaged())
	}
	if in, err := l.InForce(t.Context()); in != (session.ListVersion{}) || err != nil {
		t.Errorf("got %+v, %v in force, want nothing", in, err)
	}
	if after := readable(t, l, n, v); after != before {
		t.Errorf("put aside: got %d badges, want %d as before", after, before)
	}
	if got, err := l.Lookup(t.Context(), badge(n)); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("unknown badge, put aside: got %+v, %v, want ErrDamaged", got, err)
	}

	load(t, l, n)
	if all := readable(t, l, n, v); all != n {
		t.Errorf("loaded again: got %d badges, want %d", all, n)
	}
	if got := lookup(t, l, badge(n)); got.Found || got.List != v {
		t.Errorf("unknown badge: got %+v, want not found", got)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whoever meets the damage first marks it: a tap, a delta, a clean-up.
func TestDamageIsNoticedByWhoMeetsIt(t *testing.T) {
	const n = 5000
	for name, meet := range map[string]func(t *testing.T, l *cache.List, v session.ListVersion) error{
		"a lookup": func(t *testing.T, l *cache.List, v session.ListVersion) error {
			var err error
			for i := 0; err == nil && i < n; i++ {
				_, err = l.Lookup(t.Context(), badge(i))
			}
			return err
		},
		"a delta": func(t *testing.T, l *cache.List, v session.ListVersion) error {
			to := version(2, n)
			return l.ApplyDeltas(t.Context(), v, to, []session.Delta{{Put: entries(0, n)}})
		},
		"a clean-up": func(t *testing.T, l *cache.List, v session.ListVersion) error {
			if err := l.Activate(t.Context(), version(2, 0), 0); err != nil {
				return err
			}
			_, err := l.Tidy(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, v := wrecked(t, n)
			if err := meet(t, l, v); !errors.Is(err, cache.ErrDamaged) || l.Damaged() == nil {
				t.Errorf("got %v, %v, want ErrDamaged", err, l.Damaged())
			}
			if _, err := l.Rebuild(); err != nil {
				t.Fatal(err)
			}
			load(t, l, 10)
			if got := lookup(t, l, badge(3)); !got.Found {
				t.Errorf("got %+v, want the new list", got)
			}
		})
	}
}

func TestOnlyTheLastDamagedFileIsKept(t *testing.T) {
	l, _ := wrecked(t, 5000)
	var kept []string
	for range 3 {
		if err := l.Check(t.Context()); err == nil {
			t.Fatal("got no damage, want some")
		}
		aside, err := l.Rebuild()
		if err != nil {
			t.Fatal(err)
		}
		path := strings.Split(aside, ".damaged")[0]
		if kept = asides(t, path); len(kept) != 1 || kept[0] != aside {
			t.Fatalf("got %v, want only %s", kept, aside)
		}
		load(t, l, 5000)
		l.Close()
		l = openList(t, path)
		if err := cachetest.Wreck(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRebuildOfAListThatIsWellDoesNothing(t *testing.T) {
	l := newList(t)
	v := load(t, l, 3)
	if aside, err := l.Rebuild(); aside != "" || err != nil {
		t.Errorf("got %q, %v, want nothing", aside, err)
	}
	if got := lookup(t, l, badge(1)); got.List != v {
		t.Errorf("got %+v, want the list", got)
	}
}
