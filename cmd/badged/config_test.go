package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A daemon whose config is wrong gives up every line that systemd kept for it.
// The descriptor here is a file's, which cannot be driven: that is said too.
func TestWrongConfigLeavesNoRelayOn(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the daemon")
	}
	dir := t.TempDir()
	daemon, config := filepath.Join(dir, "badged"), filepath.Join(dir, "badged.toml")
	if out, err := exec.Command("go", "build", "-o", daemon, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(config, []byte("[gateway]\nid = \"NO ID\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	systemd, err := net.ListenUnixgram(addr.Net, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	line, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()

	// Only the process itself knows the pid that LISTEN_PID has to name.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" --config "$1"`, daemon, config)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=relay-washer-GPIO17-high", "NOTIFY_SOCKET="+addr.Name)
	cmd.ExtraFiles = []*os.File{line}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 78 || !strings.Contains(string(out), "relay-washer-GPIO17-high") {
		t.Errorf("got exit code %d, %v, want 78 and the line that could not be driven\n%s", code, err, out)
	}
	systemd.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1024)
	n, err := systemd.Read(b)
	if want := "FDSTOREREMOVE=1\nFDNAME=relay-washer-GPIO17-high"; err != nil || string(b[:n]) != want {
		t.Errorf("got %q, %v, want %q", b[:n], err, want)
	}
}
