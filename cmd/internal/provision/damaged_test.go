package provision

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a bad card has done to our own notes keeps no file out, and the gateway that
// it is stays that one.
func TestDamagedNotesAreWrittenAnew(t *testing.T) {
	for _, garbage := range []string{"", "{", "\x00\x00\x00"} {
		root, m := newRoot(t, "10000000abcd"), newSite(t)
		r := provisioned(t, root, m.file(t))
		etc := filepath.Join(root, "etc/badged")
		write(t, filepath.Join(etc, filepath.Dir(r.State.Config), recordName), garbage, 0o640)
		write(t, filepath.Join(etc, versionsName, stateName), garbage, 0o644)
		if r, err := boot(t, root); err != nil || r.State.Outcome != Installed || r.State.Text != "provisioned as gw-7" {
			t.Fatalf("%q: got %+v, %v, want a start as before", garbage, r.State, err)
		}
		if r := provisioned(t, root, m.file(t, "gateway.language", "it")); r.State.Outcome != Installed || !strings.Contains(inForce(t, root), `language = "it"`) {
			t.Errorf("%q: got %+v, want the next file in force", garbage, r.State)
		}
	}
}

// Where not even the folder can be made, the boot partition says so.
func TestWhatIsInTheWayIsTold(t *testing.T) {
	root := newRoot(t, "10000000abcd")
	if err := os.Remove(filepath.Join(root, "etc/badged")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "etc/badged"), "no folder", 0o644)
	insert(t, root, newSite(t).file(t))
	if _, err := boot(t, root); err == nil {
		t.Fatal("got no error")
	}
	if text := result(t, root); !strings.Contains(text, "NOT DONE") || !strings.Contains(text, "etc/badged") || !strings.Contains(text, "secrets") {
		t.Errorf("got the result\n%s", text)
	}
	if _, err := os.Stat(onCard(root)); err != nil {
		t.Errorf("the file: %v, want it left there", err)
	}
}

// No link, folder or pipe in the place of the file is followed, waited for, or
// called by the system's words alone.
func TestWhatIsNoFileIsRefused(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		root := newRoot(t, "10000000abcd")
		if err := put(onCard(root)); err != nil {
			t.Fatal(err)
		}
		r, err := boot(t, root)
		if text := strings.Join(strings.Fields(r.Text), " "); err == nil || !strings.Contains(text, "is a folder, a link or a pipe; want the file itself") {
			t.Errorf("%s: got %v and\n%s", what, err, r.Text)
		}
	}
}

// --root may be named from where one stands.
func TestRootByARelativeName(t *testing.T) {
	root := newRoot(t, "10000000abcd")
	insert(t, root, newSite(t).file(t))
	t.Chdir(filepath.Dir(root))
	r, err := boot(t, filepath.Base(root)+"/")
	if err != nil || r.State.Outcome != Installed {
		t.Errorf("got %+v, %v\n%s", r.State, err, r.Text)
	}
}

func TestStateFolderCannotLeadElsewhere(t *testing.T) {
	_, err := newSite(t).Make([]Order{{Values: map[string]string{"gateway.id": "gw-7", "gateway.state": stateFolder + "/../../../etc"}}})
	if err == nil || !strings.Contains(err.Error(), "gateway.state") {
		t.Errorf("got %v, want it refused", err)
	}
}
