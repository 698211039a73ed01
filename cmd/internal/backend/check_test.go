package backend_test

import (
	"os"
	"path/filepath"
	"testing"

	"badged/cmd/internal/backend"
)

func TestCheckTellsOfEveryLedger(t *testing.T) {
	dir := t.TempDir()
	put := func(gateway string, messages ...[]byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, gateway), 0o700); err != nil {
			t.Fatal(err)
		}
		var file []byte
		for _, m := range messages {
			line := append([]byte(`{"gateway":"`+gateway+`",`), m[len(`{"v":1,`):]...)
			file = append(append(file, line...), '\n')
		}
		if err := os.WriteFile(filepath.Join(dir, gateway, "l1.jsonl"), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, fork := gateway{t: t, prev: firstPrev}, gateway{t: t, prev: firstPrev}
	one, two, three := g.record(""), g.record(""), g.record(`,"account":"<a>"`)
	other := fork.record(`,"account":"b"`)
	put("gw-whole", three, one, two)
	put("gw-gap", one, three)
	put("gw-fork", one, two, other, three)
	put("gw-damaged", one, []byte(`{"v":1,}`), three)
	got := map[string]backend.Checked{}
	if err := backend.Check(dir, func(c backend.Checked) error { got[c.Gateway] = c; return nil }); err != nil {
		t.Fatal(err)
	}
	for gateway, want := range map[string]backend.Checked{
		"gw-whole":   {UpTo: 3, Last: 3},
		"gw-gap":     {UpTo: 1, Last: 3},
		"gw-fork":    {UpTo: 3, Last: 3, Forks: 1},
		"gw-damaged": {UpTo: 1, Last: 1},
	} {
		c := got[gateway]
		if c.UpTo != want.UpTo || c.Last != want.Last || c.Forks != want.Forks || (c.Odd == "") != (gateway == "gw-whole") {
			t.Errorf("%s: got %+v, want %+v", gateway, c, want)
		}
	}
}
