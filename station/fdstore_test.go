package station_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"badged/station"
)

// manager is a service manager's notification socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

// message returns the next message to the manager and its descriptors.
func message(t *testing.T, c *net.UnixConn) (string, []int) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	b, oob := make([]byte, 4096), make([]byte, 4096)
	n, m, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	if m > 0 {
		all, err := syscall.ParseSocketControlMessage(oob[:m])
		if err != nil {
			t.Fatal(err)
		}
		if fds, err = syscall.ParseUnixRights(&all[0]); err != nil {
			t.Fatal(err)
		}
	}
	return string(b[:n]), fds
}

func TestFDName(t *testing.T) {
	for name, tt := range map[string]struct {
		line      string
		activeLow bool
		want      string
	}{
		"plain":        {"GPIO17", false, "relay-washer-GPIO17-high"},
		"active low":   {"GPIO17", true, "relay-washer-GPIO17-low"},
		"odd letters":  {"PA:7 ü\n", false, "relay-washer-PA_7___-high"},
		"another line": {"GPIO18", false, "relay-washer-GPIO18-high"},
	} {
		if got := station.FDName("washer", tt.line, tt.activeLow); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestKeepSendsTheDescriptor(t *testing.T) {
	m := manager(t)
	l, w := events(t)
	if kept, err := station.Keep("relay-washer-GPIO17-high", l); !kept || err != nil {
		t.Fatalf("got %v, %v, want it kept", kept, err)
	}
	text, fds := message(t, m)
	if want := "FDSTORE=1\nFDNAME=relay-washer-GPIO17-high"; text != want {
		t.Errorf("message: got %q, want %q", text, want)
	}
	if len(fds) != 1 {
		t.Fatalf("descriptors: got %d, want 1", len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), "kept")
	defer f.Close()
	l.Close()
	w.WriteString("still open")
	b := make([]byte, 10)
	if n, err := f.Read(b); err != nil || string(b[:n]) != "still open" {
		t.Errorf("kept descriptor: got %q, %v, want it to outlive the line", b[:n], err)
	}
}

// TestKeepForAManager puts a descriptor into the store of the service that runs it:
// .ci/boot has it stand for a relay's line where there is no GPIO.
func TestKeepForAManager(t *testing.T) {
	name := os.Getenv("STATION_TEST_KEEP")
	if name == "" {
		t.Skip("no service runs this")
	}
	f, err := os.Open(os.DevNull) // a pipe would be dropped when its other end goes
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if kept, err := station.Keep(name, station.NewLine("GPIO17", f)); !kept || err != nil {
		t.Errorf("got %v, %v, want it kept", kept, err)
	}
}

func TestKeepWithoutAManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	l, _ := events(t)
	if kept, err := station.Keep("relay", l); kept || err != nil {
		t.Errorf("got %v, %v, want false and no error", kept, err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if _, err := station.Keep("relay", l); err == nil || !strings.Contains(err.Error(), "keep relay") {
		t.Errorf("dead manager: got %v, want an error that names the line", err)
	}
}

// adoptEnv makes this test binary a daemon that was given descriptors.
const adoptEnv = "STATION_TEST_ADOPT"

// TestAdopt starts a process as systemd does, with descriptors from 3 on: pipes
// here, so that what is written to one shows which was adopted.
func TestAdopt(t *testing.T) {
	if os.Getenv(adoptEnv) != "" {
		adopt(t)
		return
	}
	m := manager(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// LISTEN_PID must be the process' own, which only a shell that becomes it knows.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestAdopt$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), adoptEnv+"=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=relay-washer:relay-gone")
	cmd.ExtraFiles = []*os.File{w, w}
	out, err := cmd.CombinedOutput()
	w.Close()
	if err != nil {
		t.Fatalf("daemon: %v\n%s", err, out)
	}
	if text, _ := message(t, m); text != "FDSTOREREMOVE=1\nFDNAME=relay-gone" {
		t.Errorf("message: got %q, want relay-gone forgotten", text)
	}
}

func adopt(t *testing.T) {
	lines, err := station.Adopt([]string{"relay-washer", "relay-dryer"})
	// A pipe is no line: to switch off the one that is given up must fail, and say so.
	if err == nil || !strings.Contains(err.Error(), "set line relay-gone") {
		t.Errorf("error: got %v, want one about relay-gone", err)
	}
	if len(lines) != 1 || lines["relay-washer"] == nil {
		t.Errorf("lines: got %v, want relay-washer", lines)
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("LISTEN_FDS: got it set, want it gone for children")
	}
	if again, err := station.Adopt([]string{"relay-washer"}); len(again) != 0 || err != nil {
		t.Errorf("again: got %v, %v, want nothing", again, err)
	}
}
