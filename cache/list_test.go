package cache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

var issued = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// version makes the nth version of a list of count entries.
func version(n uint64, count int) session.ListVersion {
	v := session.ListVersion{List: "via-roma-12", Epoch: 1, Version: n, Count: count, IssuedAt: issued}
	binary.BigEndian.PutUint64(v.Digest[:], n)
	return v
}

// badge makes a double-size UID of NXP's, spread over the tree.
func badge(n int) session.IDToken {
	return session.IDToken(fmt.Sprintf("04%012X", uint64(n)*0x9E3779B97F4A%0xFFFFFFFFFFFB))
}

func entries(from, to int) []session.Entry {
	var es []session.Entry
	for n := from; n < to; n++ {
		es = append(es, session.Entry{UID: badge(n), Status: session.Accepted, Account: fmt.Sprint("r-", n)})
	}
	return es
}

func openList(t testing.TB, path string) *cache.List {
	t.Helper()
	l, err := cache.OpenList(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func newList(t testing.TB) *cache.List { return openList(t, filepath.Join(t.TempDir(), "list.db")) }

// load brings n entries into force as version 1, in chunks of at most 2,000.
func load(t testing.TB, l *cache.List, n int) session.ListVersion {
	t.Helper()
	to, chunks := version(1, n), 0
	for from := 0; from < n; from += 2000 {
		if err := l.Stage(t.Context(), to, chunks, entries(from, min(n, from+2000))); err != nil {
			t.Fatal(err)
		}
		chunks++
	}
	if err := l.Activate(t.Context(), to, chunks); err != nil {
		t.Fatal(err)
	}
	return to
}

func lookup(t testing.TB, l *cache.List, uid session.IDToken) session.Listing {
	t.Helper()
	got, err := l.Lookup(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEntryComesBackAsItWasPut(t *testing.T) {
	l := newList(t)
	load(t, l, 0)
	for name, e := range map[string]session.Entry{
		"only an account": {UID: "04A1B2C3", Status: session.Accepted, Account: "r-1", Origin: session.Issued, Role: session.User},
		"all fields": {UID: "04A1B2C3D4E5F6", Status: session.Blocked, Account: "{r}", Origin: session.ThirdParty, Role: session.Master,
			Services: []session.Service{session.Laundry}, Stations: []string{"garage-17"}, ValidFrom: issued, ValidUntil: issued.Add(time.Hour), Language: "it"},
		"triple size": {UID: "04A1B2C3D4E5F6A7B8C9", Status: session.Expired, Origin: session.Issued, Role: session.Tester},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := l.InForce(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := l.ApplyDeltas(t.Context(), v, version(v.Version+1, v.Count+1), []session.Delta{{Put: []session.Entry{e}}}); err != nil {
				t.Fatal(err)
			}
			got := lookup(t, l, e.UID)
			if !got.Found || fmt.Sprint(got.Entry) != fmt.Sprint(e) {
				t.Errorf("got %+v, want %+v", got.Entry, e)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	l := newList(t)
	if got := lookup(t, l, badge(1)); got.Found || got.List != (session.ListVersion{}) {
		t.Errorf("without a list: got %+v, want nothing", got)
	}
	v := load(t, l, 10)
	if got := lookup(t, l, badge(3)); !got.Found || got.Entry.Account != "r-3" || got.List != v {
		t.Errorf("got %+v, want r-3 of %+v", got, v)
	}
	for _, uid := range []session.IDToken{badge(10), "", "04", "zz", session.IDToken(strings.ToLower(string(badge(3)))), badge(3) + "00"} {
		if got := lookup(t, l, uid); got.Found || got.List != v {
			t.Errorf("%q: got %+v, want not found in %+v", uid, got, v)
		}
	}
}

func TestDeltas(t *testing.T) {
	l := newList(t)
	v := load(t, l, 3)
	to := version(3, 3)
	err := l.ApplyDeltas(t.Context(), v, to, []session.Delta{
		{Put: []session.Entry{{UID: badge(1), Status: session.Blocked}, {UID: badge(7), Status: session.Accepted}}},
		{Remove: []session.IDToken{badge(7), badge(0), badge(99)}, Put: []session.Entry{{UID: badge(8), Status: session.Accepted}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{0: false, 1: true, 2: true, 7: false, 8: true} {
		if got := lookup(t, l, badge(n)); got.Found != want || got.List != to {
			t.Errorf("badge %d: got %v in %v, want %v in %v", n, got.Found, got.List, want, to)
		}
	}
	if got := lookup(t, l, badge(1)).Entry.Status; got != session.Blocked {
		t.Errorf("got %s, want Blocked", got)
	}
}

func TestRefusedChangesLeaveTheListInForce(t *testing.T) {
	ctx := context.Background()
	put := []session.Delta{{Put: entries(3, 4)}}
	for name, change := range map[string]func(l *cache.List, v session.ListVersion) error{
		"delta from another version": func(l *cache.List, v session.ListVersion) error {
			return l.ApplyDeltas(ctx, version(2, 3), version(3, 4), put)
		},
		"delta from another digest": func(l *cache.List, v session.ListVersion) error {
			v.Digest[31]++
			return l.ApplyDeltas(ctx, v, version(2, 4), put)
		},
		"delta with another count": func(l *cache.List, v session.ListVersion) error {
			return l.ApplyDeltas(ctx, v, version(2, 5), put)
		},
		"delta with a bad uid": func(l *cache.List, v session.ListVersion) error {
			return l.ApplyDeltas(ctx, v, version(2, 4), append(put, session.Delta{Put: []session.Entry{{UID: "04a1b2c3", Status: session.Accepted}}}))
		},
		"delta without a status": func(l *cache.List, v session.ListVersion) error {
			return l.ApplyDeltas(ctx, v, version(2, 4), []session.Delta{{Put: []session.Entry{{UID: badge(5)}}}})
		},
		"snapshot with a chunk missing": func(l *cache.List, v session.ListVersion) error {
			to := version(2, 4)
			if err := l.Stage(ctx, to, 1, entries(0, 4)); err != nil {
				return nil
			}
			return l.Activate(ctx, to, 1)
		},
		"snapshot with another count": func(l *cache.List, v session.ListVersion) error {
			to := version(2, 4)
			if err := l.Stage(ctx, to, 0, entries(0, 3)); err != nil {
				return nil
			}
			return l.Activate(ctx, to, 1)
		},
		"snapshot of another version": func(l *cache.List, v session.ListVersion) error {
			if err := l.Stage(ctx, version(3, 4), 0, entries(0, 4)); err != nil {
				return nil
			}
			return l.Activate(ctx, version(2, 4), 1)
		},
		"badge in two chunks": func(l *cache.List, v session.ListVersion) error {
			if err := l.Stage(ctx, version(2, 4), 0, entries(0, 3)); err != nil {
				return nil
			}
			return l.Stage(ctx, version(2, 4), 1, entries(2, 3))
		},
		"refresh of another version": func(l *cache.List, v session.ListVersion) error {
			return l.Refresh(ctx, version(2, 3))
		},
		"number beyond the database": func(l *cache.List, v session.ListVersion) error {
			return l.ApplyDeltas(ctx, v, version(1<<63, 4), put)
		},
		"load beyond the disk": func(l *cache.List, v session.ListVersion) error {
			return l.Stage(ctx, version(2, min(1<<50, math.MaxInt)), 0, entries(0, 3))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t)
			v := load(t, l, 3)
			if err := change(l, v); err == nil {
				t.Fatal("got no error, want one")
			}
			if got := lookup(t, l, badge(2)); !got.Found || got.List != v {
				t.Errorf("got %+v, want badge 2 in %+v", got, v)
			}
			if got := lookup(t, l, badge(3)); got.Found {
				t.Error("got an entry of the refused change")
			}
		})
	}
}

func TestLookupAfterCloseIsAnError(t *testing.T) {
	l := newList(t)
	load(t, l, 1)
	l.Close()
	if got, err := l.Lookup(t.Context(), badge(0)); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}
