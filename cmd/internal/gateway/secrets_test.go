package gateway

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/config"
)

// A key that the gateway has made itself stays; what a bad card has made of it is
// replaced, and said. One that the config names is nobody's to replace.
func TestOwnSiteKey(t *testing.T) {
	var log bytes.Buffer
	h := newHouse(t, nowhere)
	g := &gateway{cfg: h.cfg, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := os.MkdirAll(g.cfg.State, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(g.cfg.State, "site.key")
	first, err := g.siteKey()
	if again, err2 := g.siteKey(); err != nil || err2 != nil || !bytes.Equal(first, again) || strings.Count(log.String(), "made=") != 1 {
		t.Fatalf("got %x, %x, %v, %v, want one key, and said that it was made:\n%s", first, again, err, err2, log.String())
	}
	for _, garbage := range []string{"", "\x00\x00\x00", strings.Repeat("5e", 31)} {
		if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		key, err := g.siteKey()
		if kept, err2 := config.ReadSiteKey(path); err != nil || err2 != nil || !bytes.Equal(key, kept) || !strings.Contains(log.String(), "own site key damaged") {
			t.Errorf("%q: got %x, %x, %v, %v, want a new one, and said:\n%s", garbage, key, kept, err, err2, log.String())
		}
		g.cfg.SiteKey = filepath.Join(h.dir, "site.key")
		if err := os.WriteFile(g.cfg.SiteKey, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := g.siteKey(); err == nil {
			t.Errorf("%q in the config's: got %x, want an error", garbage, key)
		}
		g.cfg.SiteKey = ""
	}
}
