package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/control"
)

// unpack reads a bundle: its files by name.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "badged-support/")] = string(b)
	}
}

func TestBundleHasNoSecretsAndNoBadges(t *testing.T) {
	dir := t.TempDir()
	config, out := filepath.Join(dir, "badged.toml"), filepath.Join(dir, "b.tar.gz")
	const leaky = `[broker]
url = "tls://gw:hunter2@broker.example.org:8883"
password = "hunter2"
password = "with \"spaces\", hunter2" # a comment that stays
password='with spaces; hunter2'
log = {"password": "hunter2"}
key = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIhunter2
-----END EC PRIVATE KEY-----"
jwk = {"kty":"OKP","d": "hunter2"}
`
	if err := os.WriteFile(config, []byte(leaky), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &examined{
		checks:  []control.Check{{Name: "reader hall: card", State: control.CheckOK, Text: "1 in the field: 04A1…C3"}},
		records: []json.RawMessage{[]byte(`{"record":{"uid":"04A1B2C3D4E5F6"}}`), []byte(`{"record":{"uid":"04A1B2C3"}}`)},
	}
	code, _, errOut := doctor(t, g, "--config", config, "--bundle", out)
	if code != 0 || !strings.Contains(errOut, "look into it before you send it") {
		t.Fatalf("got %d, %s", code, errOut)
	}
	files := unpack(t, out)
	for _, name := range []string{"report.txt", "checks.json", "status.json", "records.json", "badged.toml", "journal.txt", "kernel.txt", "system.txt"} {
		if files[name] == "" {
			t.Errorf("got no %s", name)
		}
		for _, secret := range []string{"hunter2", "04A1"} {
			if strings.Contains(files[name], secret) {
				t.Errorf("%s has %s in it:\n%s", name, secret, files[name])
			}
		}
	}
	badge := files["checks.json"][strings.Index(files["checks.json"], "badge-"):][:len("badge-")+12]
	if !strings.Contains(files["records.json"], badge) || strings.Count(files["records.json"], "badge-") != 2 || strings.Count(files["records.json"], badge) != 1 {
		t.Errorf("got %s, want %s for the badge of the checks and another for the other", files["records.json"], badge)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if code, _, errOut := doctor(t, g, "--config", config, "--bundle", out); code != exitFailed || !strings.Contains(errOut, "exists") {
		t.Errorf("got %d, %s, want nothing overwritten", code, errOut)
	}
}
