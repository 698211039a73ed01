package gateway

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// deps lists what a package links, itself included.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}

func TestArrowsOnlyPointDown(t *testing.T) {
	for pkg, may := range map[string][]string{
		"badged/mifare":            nil,
		"badged/session":           nil,
		"badged/mifare/mifaretest": {"badged/mifare"},
		"badged/reader":            {"badged/mifare"},
		"badged/reader/readertest": {"badged/mifare", "badged/mifare/mifaretest"},
		"badged/station/model":     nil,
		"badged/station":           {"badged/session", "badged/station/model"},
		"badged/cache":             {"badged/session"},
		"badged/uplink":            {"badged/session"},
		"badged/uplink/uplinktest": {"badged/session", "badged/uplink"},
	} {
		for _, dep := range deps(t, pkg) {
			if strings.HasPrefix(dep, "badged/") && dep != pkg && !slices.Contains(may, dep) {
				t.Errorf("%s imports %s, may import %v", pkg, dep, may)
			}
		}
	}
}

func TestProgramsLinkOnlyWhatTheyNeed(t *testing.T) {
	for pkg, never := range map[string][]string{
		"badged/cmd/badgectl": {"github.com/mattn/go-sqlite3", "periph.io/x/", "badged/cache", "badged/reader", "badged/cmd/internal/gateway"},
		"badged/cmd/badged":   {"badged/reader/readertest", "badged/mifare/mifaretest", "github.com/mochi-mqtt/"},
		// Offices check configs with it, where no board is.
		"badged/cmd/internal/config": {"github.com/mattn/go-sqlite3", "periph.io/x/", "badged/cache", "badged/reader"},
	} {
		for _, dep := range deps(t, pkg) {
			if slices.ContainsFunc(never, func(n string) bool { return strings.HasPrefix(dep, n) }) {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
	}
}
