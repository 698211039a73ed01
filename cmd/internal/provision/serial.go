package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// boardSerial is the number that the board's firmware gives it. Where there is
// none it stands for the system's installation, and then moves with the card:
// machine-id(5) asks not to show it as it is.
func boardSerial(root string) string {
	if s := firstLine(filepath.Join(root, "/proc/device-tree/serial-number")); unique(s) {
		return strings.ToLower(s)
	}
	b, _ := os.ReadFile(filepath.Join(root, "/proc/cpuinfo"))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); strings.TrimSpace(name) == "Serial" && unique(value) {
			return strings.ToLower(value)
		}
	}
	if id := firstLine(filepath.Join(root, "/etc/machine-id")); unique(id) {
		sum := sha256.Sum256([]byte("badged board\n" + id))
		return "system-" + hex.EncodeToString(sum[:8])
	}
	return ""
}

// firstLine is a file's text up to a line feed or the NUL of the device tree.
func firstLine(path string) string {
	b, _ := os.ReadFile(path)
	s, _, _ := strings.Cut(strings.TrimRight(string(b), "\x00"), "\n")
	return strings.TrimSpace(s)
}

// unique refuses what boards say that have no number.
func unique(s string) bool { return strings.Trim(s, "0") != "" && s != "uninitialized" }

func bootID(root string) string {
	return strings.ReplaceAll(firstLine(filepath.Join(root, "/proc/sys/kernel/random/boot_id")), "-", "")
}
