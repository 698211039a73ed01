package provision

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
)

func TestFirstProvisioning(t *testing.T) {
	root := newRoot(t, "10000000abcd")
	r := provisioned(t, root, newSite(t).file(t, "list.head", "2.40"))
	golden(t, "done.txt", result(t, root))
	if r.State.Outcome != Installed || r.State.Board != "10000000abcd" || r.State.Boot != "6d0b1a8e0c1e4bb09c5e2f3f2d1a0b11" {
		t.Errorf("got %+v", r.State)
	}
	c, err := config.Load(filepath.Join(root, "etc/badged", configName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(); err != nil || c.ID != "gw-7" || c.List.Head.Version != 40 {
		t.Errorf("got %s, head %v, %v", c.ID, c.List.Head, err)
	}
	if trialOf(t, root) != nil {
		t.Error("got a trial, want the first configuration kept whatever comes")
	}
	left, err := os.ReadDir(filepath.Join(root, "boot/firmware"))
	if err != nil || len(left) != 1 || left[0].Name() != ResultName {
		t.Errorf("got %v on the boot partition, %v, want the result alone", left, err)
	}
	for what, text := range map[string]string{"result": result(t, root), "state": read(t, filepath.Join(root, "etc/badged", versionsName, stateName))} {
		if strings.Contains(text, "PRIVATE") || strings.Contains(text, "a7a7") {
			t.Errorf("the %s has a secret in it:\n%s", what, text)
		}
	}
}

func TestOwnersAndModes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	root := newRoot(t, "1")
	r := provisioned(t, root, newSite(t).file(t))
	dir := filepath.Join(root, "etc/badged", filepath.Dir(r.State.Config))
	for name, want := range map[string]struct {
		mode     fs.FileMode
		uid, gid int
	}{
		".":                 {fs.ModeDir | 0o750, 0, 996},
		configName:          {0o640, 0, 996},
		"ca.pem":            {0o640, 0, 996},
		"gateway.pem":       {0o640, 0, 996},
		"list-keys.jwks":    {0o640, 0, 996},
		"command-keys.jwks": {0o640, 0, 996},
		"gateway.key":       {0o600, 997, 996},
		"site.key":          {0o600, 997, 996},
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if o := ownerOf(info); info.Mode() != want.mode || o.uid != want.uid || o.gid != want.gid {
			t.Errorf("%s: got %v of %d:%d, want %v of %d:%d", name, info.Mode(), o.uid, o.gid, want.mode, want.uid, want.gid)
		}
	}
}

// wrongFiles are what goes wrong between office and board.
func wrongFiles(t *testing.T, m Maker) []struct{ what, doc string } {
	good := m.file(t)
	change := func(from, to string) string {
		out := strings.Replace(good, from, to, 1)
		if out == good {
			t.Fatalf("nothing to replace: %s", from)
		}
		return out
	}
	_, otherKey := newAuthority(t)
	key := good[strings.Index(good, "-----BEGIN PRIVATE"):]
	key = key[:strings.Index(key, "'''")]
	return []struct{ what, doc string }{
		{"a typing error", change(`billing = "managed"`, `biling = "managed"`)},
		{"two at once", strings.Replace(change(`id = "gw-7"`, `id = "GW 7"`), `relay = "GPIO17"`, `relay = "GPIO5"`, 1)},
		{"a quotation mark lost", change(`site = "via-roma-12"`, `site = "via-roma-12`)},
		{"half of it copied", good[:len(good)-700]},
		{"a quarter of it copied", good[:300]},
		{"saved in Latin-1", change("# the laundry of via Roma", "# la laverie de l'\xe9cole")},
		{"empty", ""},
		{"a plain badged.toml", good[:strings.Index(good, "\n# From here on")]},
		{"a file that is not in it", change(`"ca.pem" = '''`, `"ca2.pem" = '''`)},
		{"somebody else's key", strings.Replace(good, key, otherKey, 1)},
		{"a key that signs lists", withPrivateKey(t, m, good)},
		{"another state folder", change(`state = "/var/lib/badged"`, `state = "/home/pi/badged"`)},
		{"a key on the board", change(`keys = "list-keys.jwks"`, `keys = "/etc/badged/list-keys.jwks"`)},
		{"a later format", change("format = 1", "format = 2")},
		{"an unknown key of provisioning", change("format = 1", "format = 1\nwlan = \"home\"")},
		{"something after it", good + "\n[panel2]\ngreen = \"GPIO4\"\n"},
		{"a path for a name", change(`"ca.pem" = '''`, `"../../passwd" = '''`)},
		{"for another board", change("format = 1", "format = 1\nboard = \"20000000beef\"")},
	}
}

// withPrivateKey has the key that signs lists where the public one belongs.
func withPrivateKey(t *testing.T, m Maker, good string) string {
	t.Helper()
	dir := filepath.Dir(m.Template)
	out := strings.Replace(good, read(t, filepath.Join(dir, backend.KeysFile)), `{"keys": [`+read(t, filepath.Join(dir, backend.KeyFile))+"]}\n", 1)
	return regexp.MustCompile(`"kid": "[^"]*"`).ReplaceAllString(out, `"kid": "k1"`)
}

// TestRefusals reads what the technician would, and nothing of the board changes.
func TestRefusals(t *testing.T) {
	m := newSite(t)
	root, done := newRoot(t, "10000000abcd"), newRoot(t, "10000000abcd")
	provisioned(t, done, m.file(t))
	was := inForce(t, done)
	var all strings.Builder
	for _, tc := range wrongFiles(t, m) {
		all.WriteString("=== " + tc.what + "\n" + refused(t, root, tc.doc) + "\n")
		refused(t, done, tc.doc)
		if got := inForce(t, done); got != was {
			t.Fatalf("%s: the configuration has changed:\n%s", tc.what, got)
		}
	}
	golden(t, "refusals.txt", all.String())
	if left, _ := os.ReadDir(filepath.Join(root, "etc/badged")); len(left) != 1 {
		t.Errorf("got %v in /etc/badged, want the state alone", left)
	}
	versions, _ := os.ReadDir(filepath.Join(done, "etc/badged", versionsName))
	if len(versions) != 2 {
		t.Errorf("got %v, want one configuration and the state: nothing half done", versions)
	}
}

func refused(t *testing.T, root, doc string) string {
	t.Helper()
	insert(t, root, doc)
	r, err := boot(t, root)
	if !errors.Is(err, ErrRefused) || r.State.Outcome != Refused {
		t.Errorf("got %+v, %v, want a refusal\n%s", r.State, err, r.Text)
	}
	if read(t, onCard(root)) != doc {
		t.Error("the file has changed, want it there to be corrected")
	}
	s, err := ReadState(filepath.Join(root, "etc/badged", configName))
	if err != nil || s != r.State {
		t.Errorf("the daemon reads %+v, %v, want %+v", s, err, r.State)
	}
	if trigger := read(t, filepath.Join(root, "sys/class/leds/ACT/trigger")); trigger != "timer" {
		t.Errorf("got light %q, want it to blink", trigger)
	}
	return result(t, root)
}

func TestEditorsAndWindowsAreForgiven(t *testing.T) {
	m := newSite(t)
	doc := "\ufeff" + strings.ReplaceAll(strings.Replace(m.file(t), "# the", "# l'été 🧺, the", 1), "\n", "\r\n")
	for as, doc := range map[string]string{"UTF-8": doc, "UTF-16": utf16In(binary.LittleEndian, doc), "UTF-16 of old Macs": utf16In(binary.BigEndian, doc)} {
		root := newRoot(t, "1")
		r := provisioned(t, root, doc)
		b, err := os.ReadFile(filepath.Join(root, "etc/badged", filepath.Dir(r.State.Config), "site.key"))
		if err != nil || strings.ContainsAny(string(b), "\r\x00") || !strings.HasPrefix(inForce(t, root), "# l'été 🧺, the laundry") {
			t.Errorf("%s: got %q, %v, want it as it was made, without CR", as, b, err)
		}
	}
}

// utf16In is what Notepad saves as Unicode.
func utf16In(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func TestNotesAreForTheTechnicianToo(t *testing.T) {
	root := newRoot(t, "1")
	provisioned(t, root, newSite(t).file(t, "station[0].relay_active", "low"))
	if text := result(t, root); !strings.Contains(text, "put gpio=17=op,dh into config.txt") {
		t.Errorf("got\n%s\nwant what --check notes", text)
	}
}

// A certificate that has ended keeps nobody from provisioning: the board's clock may
// be wrong, and residents are served without a broker.
func TestAnEndedCertificateIsToldOnTheBoard(t *testing.T) {
	root := newRoot(t, "1")
	insert(t, root, newSite(t).file(t))
	b, err := OpenBoard(root)
	if err != nil {
		t.Fatal(err)
	}
	b.now = func() time.Time { return noon.Add(25 * time.Hour) }
	if r, err := b.Boot(false); err != nil || !strings.Contains(r.Text, "Note:\n      gateway.pem has ended on 2026-11-26; the broker lets nobody in") {
		t.Errorf("got %v and\n%s", err, r.Text)
	}
}

// A board without any number takes a file that is for another, for want of knowing,
// and says so.
func TestBoardWithoutANumber(t *testing.T) {
	root := newRoot(t, "")
	m := newSite(t)
	made, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-7"}, Board: "20000000beef"}})
	if err != nil {
		t.Fatal(err)
	}
	r := provisioned(t, root, string(made[0].Doc))
	text := strings.Join(strings.Fields(r.Text), " ")
	if r.State.Board != "" || !strings.Contains(text, "the file is for board 20000000beef alone, and this board tells no number") {
		t.Errorf("got %+v and\n%s", r.State, r.Text)
	}
	setSerial(t, root, "20000000BEEF") // the number that was asked for, in letters of another kind
	insert(t, root, string(made[0].Doc))
	if r, err := boot(t, root); err != nil || strings.Contains(r.Text, "tells no number") {
		t.Errorf("got %v and\n%s", err, r.Text)
	}
}

func TestOldBootPartition(t *testing.T) {
	root := newRoot(t, "1")
	if err := os.Remove(filepath.Join(root, "boot/firmware")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "boot", FileName), newSite(t).file(t), 0o644)
	if _, err := boot(t, root); err != nil {
		t.Fatal(err)
	}
	if text := read(t, filepath.Join(root, "boot", ResultName)); !strings.Contains(text, "DONE") {
		t.Errorf("got %s, want it done", text)
	}
}

func TestARefusalIsOverWhenTheFileIsGone(t *testing.T) {
	root := newRoot(t, "1")
	provisioned(t, root, newSite(t).file(t))
	refused(t, root, "nonsense")
	if err := os.Remove(onCard(root)); err != nil {
		t.Fatal(err)
	}
	if r, err := boot(t, root); err != nil || r.State.Outcome != Installed {
		t.Errorf("got %+v, %v, want it as it was installed", r.State, err)
	}
}

func TestWithoutAFileNothingHappens(t *testing.T) {
	root := newRoot(t, "1")
	write(t, filepath.Join(root, "etc/badged", configName), "somebody's own\n", 0o640)
	r, err := boot(t, root)
	if err != nil || r != (Report{}) || inForce(t, root) != "somebody's own\n" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/badged", versionsName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no trace", err)
	}
}

func TestBoardWithoutTheDaemonsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	root := newRoot(t, "1")
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n", 0o644)
	if _, err := OpenBoard(root); err == nil || !strings.Contains(err.Error(), "install the package") {
		t.Errorf("got %v, want what is missing", err)
	}
}

func TestSerials(t *testing.T) {
	for _, tc := range []struct{ tree, cpuinfo, machine, want string }{
		{"10000000ABCD", "", "", "10000000abcd"},
		{"", "processor : 0\nSerial\t\t: 00000000beef\n", "", "00000000beef"},
		{"0000000000000000", "Serial : 0000000000000000\n", "5c1b0f0e9b5a4c0d8d7f3a2b1c0d9e8f\n", "system-"},
		{"", "", "uninitialized\n", ""},
	} {
		root := newRoot(t, tc.tree)
		write(t, filepath.Join(root, "proc/cpuinfo"), tc.cpuinfo, 0o644)
		write(t, filepath.Join(root, "etc/machine-id"), tc.machine, 0o644)
		got := boardSerial(root)
		if got != tc.want && !(tc.want == "system-" && len(got) == 23 && !strings.Contains(tc.machine, got[7:])) {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

func TestBootPartitionThatCannotBeWritten(t *testing.T) {
	root := newRoot(t, "1")
	insert(t, root, newSite(t).file(t))
	b, err := OpenBoard(root)
	if err != nil {
		t.Fatal(err)
	}
	b.disk.before = func(c change) error {
		if strings.HasPrefix(c.path, filepath.Join(root, "boot")) {
			return &fs.PathError{Op: c.op, Path: c.path, Err: syscall.EROFS}
		}
		return nil
	}
	r, err := b.Boot(false)
	if !errors.Is(err, ErrRefused) || !strings.Contains(r.Text, "secrets would stay") {
		t.Errorf("got %v\n%s\nwant a refusal", err, r.Text)
	}
	if _, err := os.Lstat(filepath.Join(root, "etc/badged", configName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want nothing installed: it would be again at every start", err)
	}
}

func TestVersionsThatAreOverGo(t *testing.T) {
	m := newSite(t)
	root := newRoot(t, "1")
	provisioned(t, root, m.file(t))
	for range 3 {
		provisioned(t, root, m.file(t))
		if err := trialOf(t, root).Passed(); err != nil {
			t.Fatal(err)
		}
		if _, err := boot(t, root); err != nil {
			t.Fatal(err)
		}
	}
	all, err := os.ReadDir(filepath.Join(root, "etc/badged", versionsName))
	names := slices.Collect(func(yield func(string) bool) {
		for _, e := range all {
			if !yield(e.Name()) {
				return
			}
		}
	})
	if err != nil || len(names) != 2 {
		t.Errorf("got %v, %v, want the one in force and the state: keys that are not used must not lie about", names, err)
	}
}
