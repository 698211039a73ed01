package cache_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"badged/cache"
	"badged/session"
)

func TestNamedStations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.db")
	l := openList(t, path)
	if _, ok, err := cache.NamedStations(path); ok || err != nil {
		t.Errorf("no list yet: got %t, %v, want false, nil", ok, err)
	}
	list := entries(0, 100)
	for i, e := range []session.Entry{
		{Stations: []string{"garage-17", "washer"}},
		{Stations: []string{"garage-17"}, Language: "it"},
		{Stations: []string{"garage-18"}, Status: session.Blocked},
		{Stations: []string{"garage-19"}, Role: session.Master},
		{Stations: []string{"garage-20"}, Role: session.Tester},
		{Account: `"stations":`},
	} {
		e.UID = list[i].UID
		if e.Status == "" {
			e.Status = session.Accepted
		}
		list[i] = e
	}
	to := version(1, len(list))
	if err := l.Stage(t.Context(), to, 0, list); err != nil {
		t.Fatal(err)
	}
	if err := l.Activate(t.Context(), to, 1); err != nil {
		t.Fatal(err)
	}
	got, ok, err := cache.NamedStations(path)
	if want := []string{"garage-17", "washer"}; !ok || err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %t, %v, want %q beside the open list", got, ok, err, want)
	}
	l.Close()
	if got, ok, err := cache.NamedStations(path); !ok || err != nil || len(got) != 2 {
		t.Errorf("got %q, %t, %v, want the same of a list that nobody has open", got, ok, err)
	}
}

func TestNamedStationsChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := cache.NamedStations(filepath.Join(dir, "list.db")); ok || err == nil {
		t.Errorf("no file: got %t, %v, want an error", ok, err)
	}
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte("no database at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := cache.NamedStations(garbage); ok || err == nil {
		t.Errorf("garbage: got %t, %v, want an error", ok, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("got files %v, want only the garbage", files)
	}
}
