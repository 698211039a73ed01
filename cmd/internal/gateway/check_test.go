package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
)

func TestARootThatSignsListsTooIsRefused(t *testing.T) {
	h := newHouse(t, nowhere)
	if err := backend.RootKeygen(h.dir); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{backend.RootKeysFile: "", backend.KeysFile: "is among the list keys too", "lost.jwks": "keygen --kind root"} {
		h.cfg.List.Roots = filepath.Join(h.dir, file)
		_, err := Check(h.cfg)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s as root: got %v, want %q", file, err, says)
		}
	}
}

func TestPrivateStationThatNoBadgeOpensIsNoted(t *testing.T) {
	h := newHouse(t, nowhere)
	h.cfg.Stations[0].Private = true
	noted := func() bool {
		t.Helper()
		notes, err := Check(h.cfg)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(notes, "\n"), "station washer is private")
	}
	if noted() {
		t.Error("got a note without a list, want none: nothing is known")
	}
	if err := os.MkdirAll(h.cfg.State, 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := cache.OpenList(filepath.Join(h.cfg.State, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	e := session.Entry{UID: "04A1B2C3", Status: session.Accepted}
	fill(t, list, []session.Entry{e})
	if !noted() {
		t.Error("got no note, want one: no badge names washer")
	}
	e.Stations = []string{"washer"}
	to := session.ListVersion{List: "l-1", Epoch: 1, Version: 2, Count: 1, IssuedAt: noon}
	from := to
	from.Version = 1
	if err := list.ApplyDeltas(t.Context(), from, to, []session.Delta{{Put: []session.Entry{e}}}); err != nil {
		t.Fatal(err)
	}
	if noted() {
		t.Error("got a note, want none: a badge names washer")
	}
}
