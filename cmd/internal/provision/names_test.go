package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesUnderAnotherName(t *testing.T) {
	m := newSite(t)
	var all strings.Builder
	for _, names := range [][]string{
		{"boot/firmware/badged-provision.toml.txt"},
		{"boot/firmware/badged-provision (1).toml"},
		{"boot/firmware/Kopie von badged-provision.toml"},
		{"boot/firmware/badged_provision.toml"},
		{"boot/firmware/BADGED~1.TOM"},
		{"boot/firmware/badged.toml"},
		{"boot/firmware/gw-7/" + FileName},
		{"boot/gw-7/" + FileName},
		{"boot/firmware/" + FileName, "boot/" + FileName},
	} {
		root := newRoot(t, "1")
		for _, name := range names {
			write(t, filepath.Join(root, name), m.file(t), 0o644)
		}
		if _, err := boot(t, root); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want a refusal", names, err)
		}
		all.WriteString("=== " + strings.Join(names, ", ") + "\n" + resultIn(t, root, names[0]) + "\n")
	}
	golden(t, "names.txt", all.String())
}

// resultIn is the result on the partition of a file.
func resultIn(t *testing.T, root, name string) string {
	t.Helper()
	if strings.HasPrefix(name, "boot/firmware/") {
		return result(t, root)
	}
	return strings.ReplaceAll(read(t, filepath.Join(root, "boot", ResultName)), "\r\n", "\n")
}

// FAT knows no small letters where a tool does not write long names.
func TestNameInCapitals(t *testing.T) {
	root := newRoot(t, "1")
	path := filepath.Join(root, "boot/firmware", strings.ToUpper(FileName))
	write(t, path, newSite(t).file(t), 0o644)
	if r, err := boot(t, root); err != nil || r.State.Outcome != Installed {
		t.Fatalf("got %+v, %v\n%s", r.State, err, r.Text)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the file and its secrets gone", err)
	}
}

// What lies beside it and is none is left alone, without a word.
func TestOtherFilesAreNone(t *testing.T) {
	root := newRoot(t, "1")
	for _, name := range []string{"._" + FileName, ".Trashes/" + FileName + ".trash", "badged_1.2_arm64.deb", "badged-result (1).txt", "badged-wiring.txt",
		"config.txt", "custom.toml", "overlays/badge.dtbo", "firmware.toml"} {
		write(t, filepath.Join(root, "boot/firmware", name), "x", 0o644)
	}
	if r, err := boot(t, root); err != nil || r != (Report{}) {
		t.Errorf("got %+v, %v, want no word of them", r, err)
	}
}
