package control

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBoardsAreToldFromDesks(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"there", "too"} {
		if err := os.WriteFile(path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const board, desk = true, false
	for name, tt := range map[string]struct {
		system, installed, desk string
		want                    bool
	}{
		"nothing":                     {"no", "no", "no", desk},
		"a desk":                      {"no", "no", "there", desk},
		"a desk on a board":           {"no", "too", "there", desk},
		"a board and a desk":          {"there", "too", "too", board},
		"a board whose daemon is not": {"no", "there", "no", board},
		// Not to be looked at, as /run/badged for whoever is not in the group: a name below a
		// file is an error of its own too, for root as well.
		"a door behind rights": {"there/door", "no", "no", board},
	} {
		got := doorOf(path(tt.system), path(tt.installed), path(tt.desk))
		if want := map[bool]string{board: path(tt.system), desk: path(tt.desk)}[tt.want]; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
