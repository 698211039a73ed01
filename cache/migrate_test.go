package cache_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/session"
)

// columns describes every table of a closed database.
func columns(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT t.name, c.cid, c.name, c.type, c."notnull", c.pk, coalesce(c.dflt_value, '')
		FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var table, column, kind, otherwise string
		var id, notNull, key int
		if err := rows.Scan(&table, &id, &column, &kind, &notNull, &key, &otherwise); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, table, id, column, kind, notNull, key, otherwise)
	}
	return all.String()
}

// testdata/list-1.db was written by the program that had schema version 1: version
// 1 with badges 0 to 19, a delta that blocks badge 3, and chunk 1 of the snapshot
// of version 5 with badges 22 and 23.
func TestListOfAnEarlierVersionGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.db")
	write(t, path, read(t, "testdata/list-1.db"))
	l := openList(t, path)
	if l.Recovered() != "" {
		t.Fatalf("got %s, want it migrated", l.Recovered())
	}
	for n := range 21 {
		got := lookup(t, l, badge(n))
		want := session.Accepted
		if n == 3 {
			want = session.Blocked
		}
		if got.List != version(2, 20) || got.Found != (n < 20) || got.Found && got.Entry.Status != want {
			t.Errorf("badge %d: got %+v, want %s in version 2", n, got, want)
		}
	}
	if err := l.SetRan(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	if ran, err := l.Ran(t.Context()); ran != time.Hour || err != nil {
		t.Errorf("got %v (%v), want an hour", ran, err)
	}
	to := version(5, 4)
	if staged, err := l.Staged(t.Context(), to); err != nil || fmt.Sprint(staged) != "[1]" {
		t.Errorf("got chunks %v staged, want 1 (%v)", staged, err)
	}
	if err := l.Stage(t.Context(), to, 0, entries(20, 22)); err != nil {
		t.Error(err)
	}
	if err := l.Activate(t.Context(), to, 2); err != nil {
		t.Error(err)
	}
	if ran, err := l.Ran(t.Context()); ran != 0 || err != nil {
		t.Errorf("got %v (%v) after another version, want 0", ran, err)
	}
	l.Close()
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	openList(t, fresh).Close()
	if got, want := columns(t, path), columns(t, fresh); got != want {
		t.Errorf("got tables\n%s\nafter the migration, want those of a new file\n%s", got, want)
	}
	if l = openList(t, path); l.Recovered() != "" || !lookup(t, l, badge(20)).Found {
		t.Errorf("opened again: got %q, want the list as it was", l.Recovered())
	}
}
