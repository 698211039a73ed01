package backend_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"badged/cache"
	"badged/cmd/internal/backend"
)

// loseList is a list file that is gone. The ledger's is another.
func (f *follower) loseList() {
	f.t.Helper()
	if err := f.list.Close(); err != nil {
		f.t.Fatal(err)
	}
	all, err := filepath.Glob(f.path + "*")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, name := range all {
		if err := os.Remove(name); err != nil {
			f.t.Fatal(err)
		}
	}
	f.openList()
}

// spoilList is a list file whose first page is rubbish: it will be put aside.
func (f *follower) spoilList() {
	f.t.Helper()
	err := f.list.Close()
	if err == nil {
		err = os.WriteFile(f.path, []byte(strings.Repeat("rubbish ", 4096)), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.openList()
	if f.list.Recovered() == "" {
		f.t.Fatal("got the spoilt list opened, want it put aside")
	}
}

func (f *follower) openList() {
	f.t.Helper()
	list, err := cache.OpenList(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.list, f.o.Store = list, list
}

// A second publisher with the same key and a store of its own gives out another
// version 1. A gateway that had the first one's knows it, even without its list.
func TestForkIsRefusedWithoutTheList(t *testing.T) {
	for name, lose := range map[string]func(*follower){"list lost": (*follower).loseList, "list put aside": (*follower).spoilList} {
		t.Run(name, func(t *testing.T) {
			b, key, dir := broker(t), listKey(t), t.TempDir()
			f := newFollower(t, b, publicOf(key), publicOf())
			p := open(t, dir, b, key)
			push(t, p, badges(0, 3), backend.PushOpts{})
			f.start()
			f.until("the list", 0, 3)
			f.stop()
			lose(f)

			forgetful := broker(t) // another broker, which knows of nothing
			f.o.Broker = forgetful
			push(t, open(t, t.TempDir(), forgetful, key), badges(5, 9), backend.PushOpts{})
			f.start()
			until(t, "the fork is refused", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return slices.ContainsFunc(f.refused, func(s string) bool { return strings.Contains(s, "fork") })
			})
			if v, err := f.list.InForce(t.Context()); v.Version != 0 || err != nil {
				t.Errorf("got version %s in force (%v), want none", at(v), err)
			}
			f.stop()
			f.o.Broker = b
			f.start()
			f.until("the list that it had", 0, 3)
		})
	}
}
