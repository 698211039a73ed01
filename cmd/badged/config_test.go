package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/backend"
)

// build makes the daemon.
func build(t *testing.T) (daemon string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the daemon")
	}
	daemon = filepath.Join(t.TempDir(), "badged")
	if out, err := exec.Command("go", "build", "-o", daemon, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return daemon
}

// usable is a config with the key files that a gateway cannot start without.
func usable(t *testing.T) (config string) {
	t.Helper()
	dir := t.TempDir()
	for _, keygen := range []func(string) error{backend.Keygen, backend.CommandKeygen} {
		if err := keygen(dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "internal", "gateway", "badged.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "badged.toml")
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// systemd stands in for the service manager: what it has been told first by programs
// that are over, "" for nothing.
func systemd(t *testing.T) (addr string, told func() string) {
	t.Helper()
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	l, err := net.ListenUnixgram(at.Net, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return at.Name, func() string {
		end, err := net.DialUnix(at.Net, nil, at)
		if err == nil {
			_, err = end.Write([]byte("end"))
			end.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		l.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 1024)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(b[:n]), "end")
	}
}

// failing is a file that can be opened and gives EIO when it is read, as one on a
// dying card: nothing is mapped where the memory of a process begins.
const failing = "/proc/self/mem"

// A daemon that starting again cannot help says so with its exit code, tells what to
// do, and gives up every line that systemd kept for it. One that it may help leaves
// them to the next. The descriptor here is a file's, which cannot be driven: that is
// said too.
func TestStartsThatCannotWork(t *testing.T) {
	daemon, good := build(t), usable(t)
	with := func(from, to string) string {
		t.Helper()
		b, err := os.ReadFile(good)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.CreateTemp(filepath.Dir(good), "*.toml")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		doc := strings.Replace(string(b), from, to, 1)
		if _, err := f.WriteString(doc); err != nil || doc == string(b) {
			t.Fatalf("%v, or nothing to replace: %s", err, from)
		}
		return f.Name()
	}
	for name, tt := range map[string]struct {
		config string
		code   int
		says   string
	}{
		"wrong config":                {with(`id = "gw-0042"`, `id = "NO ID"`), 78, "gateway.id"},
		"no config":                   {filepath.Join(t.TempDir(), "badged.toml"), 78, "badgectl provision apply"},
		"a folder for the config":     {t.TempDir(), 78, "is a directory"},
		"a config without an end":     {"/dev/zero", 78, "larger than 1 MiB"},
		"no list keys":                {with(`keys = "list-keys.jwks"`, `keys = "gone.jwks"`), 78, "badgectl list keygen"},
		"a config for the keys":       {with(`keys = "command-keys.jwks"`, `keys = "badged.toml"`), 78, "commands.keys: "},
		"a folder for the site key":   {with(`# site_key = "site.key"`, `site_key = "."`), 78, "is a directory"},
		"a disk that fails":           {failing, 1, "input/output error"},
		"a disk that fails for a key": {with(`# site_key = "site.key"`, `site_key = "`+failing+`"`), 1, "input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, told := systemd(t)
			line, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer line.Close()

			// Only the process itself knows the pid that LISTEN_PID has to name.
			cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" --config "$1"`, daemon, tt.config)
			cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=relay-washer-GPIO17-high", "NOTIFY_SOCKET="+addr)
			cmd.ExtraFiles = []*os.File{line}
			out, err := cmd.CombinedOutput()
			off := tt.code == 78
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.says) || strings.Contains(string(out), "relay-washer-GPIO17-high") != off {
				t.Errorf("got exit code %d, %v, want %d, %q, and the line that could not be driven: %t\n%s", code, err, tt.code, tt.says, off, out)
			}
			want := ""
			if off {
				want = "FDSTOREREMOVE=1\nFDNAME=relay-washer-GPIO17-high"
			}
			if got := told(); got != want {
				t.Errorf("systemd: got %q, want %q", got, want)
			}
		})
	}
}
