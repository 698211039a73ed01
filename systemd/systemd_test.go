package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed returns the unit as it is installed, with a program that exists.
func installed(t *testing.T) (path string) {
	t.Helper()
	b, err := os.ReadFile("badged.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.Replace(string(b), "ExecStart=/usr/bin/badged ", "ExecStart=/bin/true ", 1)
	if unit == string(b) {
		t.Fatal("ExecStart: got no /usr/bin/badged, want it there")
	}
	path = filepath.Join(t.TempDir(), "badged.service")
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func analyze(t *testing.T, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	out, err := exec.Command(bin, append(args, installed(t))...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "Unknown key") {
		t.Errorf("systemd-analyze %s: got %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestUnitIsUnderstood(t *testing.T) { analyze(t, "verify", "--man=no") }

// TestUnitIsHardened holds the exposure that systemd computes at or below 1.3
// of 10; the network is most of it.
func TestUnitIsHardened(t *testing.T) {
	analyze(t, "security", "--offline=true", "--threshold=13")
}
