package cache_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// sameHead compares what is kept of a head.
func sameHead(a, b session.ListVersion) bool {
	a.IssuedAt, b.IssuedAt = time.Time{}, time.Time{}
	return a == b
}

func wantHead(t *testing.T, l *cache.Ledger, want session.ListVersion) {
	t.Helper()
	if got, err := l.HighestHead(t.Context(), want.List); !sameHead(got, want) || err != nil {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

// Whatever RaiseHead is told, the highest number stays, and the digest that was
// known first of it.
func TestHighestHeadKeepsItsDigest(t *testing.T) {
	numbered := func(n uint64) session.ListVersion {
		return session.ListVersion{List: "via-roma-12", Epoch: 1, Version: n} // as provisioning knows it
	}
	fork := version(7, 3)
	fork.Digest[31] = 1
	l := newLedger(t)
	wantHead(t, l, session.ListVersion{})
	for _, c := range []struct{ told, want session.ListVersion }{
		{numbered(7), numbered(7)},
		{version(6, 9), numbered(7)},
		{version(7, 3), version(7, 3)}, // learnt
		{fork, version(7, 3)},
		{numbered(7), version(7, 3)},
		{numbered(8), numbered(8)},
		{version(9, 0), version(9, 0)},
		{numbered(5), version(9, 0)},
	} {
		if err := l.RaiseHead(t.Context(), c.told); err != nil {
			t.Fatal(err)
		}
		wantHead(t, l, c.want)
	}
	commits := 0
	l.FailAt(func(point string) {
		if point == "committed" {
			commits++
		}
	})
	for _, v := range []session.ListVersion{version(9, 0), version(8, 1), numbered(9)} {
		if err := l.RaiseHead(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if commits != 0 {
		t.Errorf("got %d commits, want none: what is known costs nothing", commits)
	}
}

// testdata/ledger-3.db was written by the program that had schema version 3: five
// commits, all acknowledged, and the heads of two lists, which had no digest then.
func TestHeadsOfAnEarlierVersionGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	write(t, path, read(t, "testdata/ledger-3.db"))
	l := openLedger(t, path, opts)
	if s := stats(t, l); l.Recovered() != "" || s.End != 6 || s.Committed != 6 {
		t.Fatalf("got %q, %+v, want it migrated with 6 records", l.Recovered(), s)
	}
	garage := session.ListVersion{List: "garage", Epoch: 2, Version: 1}
	wantHead(t, l, session.ListVersion{List: "via-roma-12", Epoch: 1, Version: 7})
	wantHead(t, l, garage)
	if err := l.RaiseHead(t.Context(), version(7, 3)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = openLedger(t, path, opts)
	wantHead(t, l, version(7, 3))
	wantHead(t, l, garage)
	l.Close()
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	openLedger(t, fresh, opts).Close()
	if got, want := columns(t, path), columns(t, fresh); got != want {
		t.Errorf("got tables\n%s\nafter the migration, want those of a new file\n%s", got, want)
	}
}

// What is damaged may also be of an earlier version.
func TestT9_HeadsOfADamagedFileOfAnEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	write(t, path, read(t, "testdata/ledger-3.db"))
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`UPDATE record SET body = replace(body, '"energy":2', '"energy":9') WHERE no = 4`)
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}
	l := openLedger(t, path, opts)
	if l.Recovered() == "" {
		t.Fatal("got no word, want a changed record noticed")
	}
	wantHead(t, l, session.ListVersion{List: "via-roma-12", Epoch: 1, Version: 7})
	wantHead(t, l, session.ListVersion{List: "garage", Epoch: 2, Version: 1})
}

// TestHeadChild is the victim: it takes over one version after the other as the
// uplink does, the head in ledger.db before the list in list.db.
func TestHeadChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("victim of TestKilledBetweenHeadAndList")
	}
	dir := os.Getenv("CACHE_DIR")
	ledger, list := openLedger(t, filepath.Join(dir, "ledger.db"), opts), openList(t, filepath.Join(dir, "list.db"))
	crash := crashAt()
	ledger.FailAt(func(point string) { crash("head " + point) })
	list.FailAt(func(point string) { crash("list " + point) })
	v, err := list.InForce(t.Context())
	for err == nil {
		to := version(v.Version+1, 6)
		if err = ledger.RaiseHead(t.Context(), to); err == nil {
			err = replace(t.Context(), list, v, to)
		}
		if v = to; err == nil {
			fmt.Fprintln(os.Stdout, to.Version)
		}
	}
	t.Fatal(err)
}

// Whenever the process dies, the head that is kept is the one of the list in force,
// with its digest, or one further: never an older one, which a lost list could be
// replaced by.
func TestKilledBetweenHeadAndList(t *testing.T) {
	dir := t.TempDir()
	ahead := 0
	for n := 1; n <= 4; n++ {
		for _, point := range []string{"head begun", "head written", "head committed", "list written", "list committed"} {
			acked := runChild(t, "TestHeadChild", dir, fmt.Sprintf("%s:%d", point, n))
			ledger, list := openLedger(t, filepath.Join(dir, "ledger.db"), opts), openList(t, filepath.Join(dir, "list.db"))
			v, err := list.InForce(t.Context())
			if err != nil || int(v.Version) < acked {
				t.Fatalf("killed at %s: got version %d in force (%v), want at least %d", point, v.Version, err, acked)
			}
			head, err := ledger.HighestHead(t.Context(), "via-roma-12")
			if err != nil || !sameHead(head, v) && !sameHead(head, version(v.Version+1, 6)) {
				t.Errorf("killed at %s: got head %+v (%v), want that of version %d, which is in force, or the next", point, head, err, v.Version)
			}
			if head.Version > v.Version {
				ahead++
			}
			ledger.Close()
			list.Close()
		}
	}
	if ahead == 0 {
		t.Error("got no head ahead of its list: nothing was tested")
	}
}
