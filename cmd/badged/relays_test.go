package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/gateway"
)

// What systemd runs after the daemon opens the noted relays if the config cannot
// be used, and none if it can. No board has a line of this name, so that here it
// shows only which one was asked for, and that systemd was told to let it go.
func TestRelaysOff(t *testing.T) {
	daemon, dir := build(t), t.TempDir()
	good := usable(t)
	bad, keyless := filepath.Join(dir, "bad.toml"), usable(t)
	if err := os.WriteFile(bad, []byte("[gateway]\nid = \"NO ID\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(keyless), backend.KeysFile)); err != nil {
		t.Fatal(err)
	}
	note, err := json.Marshal([]gateway.Wire{{Line: "NO-SUCH-LINE", Station: "washer"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "relays.json"), note, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config string
		opened bool
		first  string
	}{
		"config is good":    {good, false, ""},
		"config is wrong":   {bad, true, "NO-SUCH-LINE"},
		"config is missing": {filepath.Join(dir, "gone.toml"), true, "NO-SUCH-LINE"},
		"key is missing":    {keyless, true, "GPIO17"},
		"disk is failing":   {failing, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr, told := systemd(t)
			cmd := exec.Command(daemon, "--config", tt.config, "--relays-off", "orphaned")
			cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir, "NOTIFY_SOCKET="+addr)
			out, err := cmd.CombinedOutput()
			if asked := err != nil && strings.Contains(string(out), "NO-SUCH-LINE"); asked != tt.opened {
				t.Errorf("got %v, %q; line asked for %v, want %v", err, out, asked, tt.opened)
			}
			want := ""
			if tt.opened {
				want = "FDSTOREREMOVE=1\nFDNAME=relay-washer-" + tt.first + "-high"
			}
			if got := told(); got != want {
				t.Errorf("systemd: got %q, want %q", got, want)
			}
		})
	}
}
