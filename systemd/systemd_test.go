package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed returns a unit as it is installed, with a program that exists.
func installed(t *testing.T, name string) (path string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var unit strings.Builder
	for line := range strings.Lines(string(b)) {
		if key, command, ok := strings.Cut(line, "=/usr/bin/badge"); ok {
			_, args, _ := strings.Cut(command, " ")
			line = key + "=/bin/true " + args
		}
		unit.WriteString(line)
	}
	if unit.String() == string(b) {
		t.Fatalf("%s: got no /usr/bin/badged or badgectl, want one", name)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(unit.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func analyze(t *testing.T, unit string, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	out, err := exec.Command(bin, append(args, installed(t, unit))...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "Unknown key") {
		t.Errorf("systemd-analyze %s %s: got %v\n%s", strings.Join(args, " "), unit, err, out)
	}
}

// TestUnits holds the exposure that systemd computes, in tenths of 10: the network
// is most of the gateway's, root and its files of the provisioner's.
func TestUnits(t *testing.T) {
	for unit, threshold := range map[string]string{"badged.service": "12", "badged-provision.service": "17"} {
		t.Run(unit, func(t *testing.T) {
			analyze(t, unit, "verify", "--man=no")
			analyze(t, unit, "security", "--offline=true", "--threshold="+threshold)
		})
	}
}
