package provision

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"badged/cmd/internal/config"
)

// record runs do on a copy of root and returns the changes that it made.
func record(t *testing.T, root string, do func(*Board)) (all []change, at string) {
	t.Helper()
	at = copied(t, root)
	b, err := OpenBoard(at)
	if err != nil {
		t.Fatal(err)
	}
	b.disk.before = func(c change) error {
		all = append(all, c)
		return nil
	}
	do(b)
	return all, at
}

// copied is a copy of a root, links and owners too.
func copied(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", root, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// survive makes what a disk has after a power cut behind the changes: all that was
// synced, and of the rest what keep says. A name whose folder has not survived has
// not either. It is a model: no file system of a card is cut here.
func survive(t *testing.T, root, recorded string, changes []change, keep func() bool) string {
	t.Helper()
	dir := copied(t, root)
	here := func(path string) string { return strings.Replace(path, recorded, dir, 1) }
	for i, c := range changes {
		lasts := c.op == "replace" || slices.ContainsFunc(changes[i:], func(later change) bool {
			return later.op == "sync" && later.path == filepath.Dir(c.path) || later.op == "replace" && filepath.Dir(later.path) == filepath.Dir(c.path)
		})
		if c.op == "sync" || !lasts && !keep() {
			continue
		}
		c.path = here(c.path)
		if c.op == "rename" || c.op == "link" {
			c.to = here(c.to)
		}
		if err := c.perform(); err != nil && lasts {
			t.Logf("not survived: %s %s: %v", c.op, c.path, err)
		}
	}
	return dir
}

// everyCut has the power cut behind every change of do, once with all that was not
// synced lost, once with all of it there, and some times with parts of it, in any
// order between folders; check looks at what has survived.
func everyCut(t *testing.T, root string, do func(*Board), check func(t *testing.T, root string)) {
	t.Helper()
	all, recorded := record(t, root, do)
	if len(all) < 5 {
		t.Fatalf("got %d changes, want more", len(all))
	}
	for n := range len(all) + 1 {
		for _, how := range []string{"nothing", "everything", "a part", "another part", "a third part"} {
			rnd := rand.New(rand.NewPCG(uint64(n), uint64(len(how))))
			keep := func() bool { return how == "everything" || how != "nothing" && rnd.IntN(2) == 0 }
			name := fmt.Sprintf("before change %d, %s unsynced survives", n, how)
			t.Run(name, func(t *testing.T) { check(t, survive(t, root, recorded, all[:n], keep)) })
		}
	}
}

// usable wants the configuration that the daemon would find to be a whole one.
func usable(t *testing.T, root string) (c config.Config, ok bool) {
	t.Helper()
	path := filepath.Join(root, "etc/badged", configName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return c, false
	}
	c, err := config.Load(path)
	if err == nil {
		_, err = c.Check()
	}
	if err != nil {
		t.Errorf("the configuration is not whole: %v", err)
	}
	return c, true
}

// clean wants nothing left over: no provisioning file, and no configuration but
// those that are needed.
func clean(t *testing.T, root string, versions int) {
	t.Helper()
	if _, err := os.Lstat(onCard(root)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the provisioning file is still there: %v", err)
	}
	all, err := os.ReadDir(filepath.Join(root, "etc/badged", versionsName))
	if err != nil || len(all) != versions+1 {
		t.Errorf("got %v, %v, want %d configurations and the state", all, err, versions)
	}
	etc, err := os.ReadDir(filepath.Join(root, "etc/badged"))
	if err != nil || slices.ContainsFunc(etc, func(e os.DirEntry) bool {
		return strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(e.Name(), ".next-")
	}) {
		t.Errorf("got %v, %v, want nothing half done", etc, err)
	}
}

func start(t *testing.T, root string) Report {
	t.Helper()
	r, err := boot(t, root)
	if err != nil {
		t.Errorf("%v\n%s", err, r.Text)
	}
	return r
}

func onlyBoot(t *testing.T) func(*Board) {
	return func(b *Board) {
		if r, err := b.Boot(false); err != nil {
			t.Fatalf("%v\n%s", err, r.Text)
		}
	}
}

func TestPowerCutsInTheFirstProvisioning(t *testing.T) {
	root := newRoot(t, "1")
	insert(t, root, newSite(t).file(t))
	everyCut(t, root, onlyBoot(t), func(t *testing.T, root string) {
		c, there := usable(t, root)
		if _, err := os.Lstat(onCard(root)); err != nil && !there {
			t.Fatal("neither the file nor what it says has survived")
		}
		start(t, root)
		if c, _ = usable(t, root); c.ID != "gw-7" {
			t.Errorf("got gateway %q after the next start, want gw-7", c.ID)
		}
		if text := result(t, root); !strings.Contains(text, "DONE. This board is gateway gw-7") {
			t.Errorf("got result\n%s", text)
		}
		clean(t, root, 1)
	})
}

func TestPowerCutsInAReplacement(t *testing.T) {
	root, m := newRoot(t, "1"), newSite(t)
	provisioned(t, root, m.file(t))
	insert(t, root, m.file(t, "gateway.language", "fr"))
	everyCut(t, root, onlyBoot(t), func(t *testing.T, root string) {
		c, there := usable(t, root)
		if !there || c.ID != "gw-7" {
			t.Fatalf("got %q, want one of the two configurations at every moment", c.ID)
		}
		start(t, root)
		if c, _ = usable(t, root); c.Language != "fr" || trialOf(t, root) == nil {
			t.Errorf("got language %s, want the new configuration on trial", c.Language)
		}
		clean(t, root, 2)
	})
}

func TestPowerCutsOnTheWayBack(t *testing.T) {
	root, first, _ := replaced(t)
	if err := trialOf(t, root).Failed("no route"); err != nil {
		t.Fatal(err)
	}
	everyCut(t, root, onlyBoot(t), func(t *testing.T, root string) {
		usable(t, root)
		start(t, root)
		s, err := ReadState(filepath.Join(root, "etc/badged", configName))
		if err != nil || s.Outcome != FellBack || inForce(t, root) != first {
			t.Errorf("got %+v, %v, want the first configuration and why", s, err)
		}
		if text := result(t, root); !strings.Contains(text, "WENT BACK") {
			t.Errorf("got result\n%s", text)
		}
		clean(t, root, 1)
	})
}
