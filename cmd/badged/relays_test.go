package main_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/gateway"
)

// What systemd runs after the daemon opens the noted relays if the config cannot
// be used, and none if it can. No board has a line of this name, so that here it
// shows only which one was asked for, and that systemd was told to let it go.
func TestRelaysOff(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the daemon")
	}
	dir := t.TempDir()
	daemon := filepath.Join(dir, "badged")
	if out, err := exec.Command("go", "build", "-o", daemon, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	good := filepath.Join("..", "internal", "gateway", "badged.toml")
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("[gateway]\nid = \"NO ID\"\n"), 0o600); err != nil {
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
	}{
		"config is good":    {good, false},
		"config is wrong":   {bad, true},
		"config is missing": {filepath.Join(dir, "gone.toml"), true},
	} {
		t.Run(name, func(t *testing.T) {
			addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
			systemd, err := net.ListenUnixgram(addr.Net, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer systemd.Close()
			cmd := exec.Command(daemon, "--config", tt.config, "--relays-off", "orphaned")
			cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir, "NOTIFY_SOCKET="+addr.Name)
			out, err := cmd.CombinedOutput()
			if asked := err != nil && strings.Contains(string(out), "NO-SUCH-LINE"); asked != tt.opened {
				t.Errorf("got %v, %q; line asked for %v, want %v", err, out, asked, tt.opened)
			}
			systemd.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // the process is over: it is there or never comes
			b := make([]byte, 1024)
			n, _ := systemd.Read(b)
			want := ""
			if tt.opened {
				want = "FDSTOREREMOVE=1\nFDNAME=relay-washer-NO-SUCH-LINE-high"
			}
			if got := string(b[:n]); got != want {
				t.Errorf("systemd: got %q, want %q", got, want)
			}
		})
	}
}
