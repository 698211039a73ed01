package cachetest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"badged/cache/cachetest"
)

// mounted returns a folder on the disk.
func mounted(t *testing.T, d *cachetest.Disk) string {
	t.Helper()
	dir := t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Skip(err)
	}
	return dir
}

func unmount(t *testing.T, d *cachetest.Disk) {
	t.Helper()
	if err := d.Unmount(); err != nil {
		t.Fatal(err)
	}
}

// put writes a file, syncing it and its folder as asked.
func put(t *testing.T, dir, name, text string, file, folder bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if file {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if folder {
		at, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer at.Close()
		if err := at.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyWhatIsSyncedSurvives(t *testing.T) {
	for name, c := range map[string]struct {
		model        cachetest.Model
		file, folder bool
		want         string // "-" for no file
	}{
		"nothing synced":         {want: "-"},
		"the file alone":         {file: true, want: "-"},
		"the folder alone":       {folder: true, want: ""},
		"both":                   {file: true, folder: true, want: "hello"},
		"both, on a liar":        {model: cachetest.Model{Lies: true}, file: true, folder: true, want: "-"},
		"nothing, but all keeps": {model: cachetest.Model{Keep: 1}, want: "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			d := cachetest.New(c.model)
			dir := mounted(t, d)
			put(t, dir, "a", "hello", c.file, c.folder)
			d.Cut()
			if err := os.WriteFile(filepath.Join(dir, "b"), nil, 0o600); err == nil {
				t.Error("got a file written after the cut, want an error")
			}
			unmount(t, d)
			d.Survive()
			dir = mounted(t, d)
			defer unmount(t, d)
			b, err := os.ReadFile(filepath.Join(dir, "a"))
			got := string(b)
			if err != nil {
				got = "-"
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRenameSurvivesWhole(t *testing.T) {
	for seed := range uint64(20) {
		d := cachetest.New(cachetest.Model{Keep: 0.5, Seed: seed})
		dir := mounted(t, d)
		put(t, dir, "a", "old", true, true)
		put(t, dir, "a.new", "new", true, true)
		if err := os.Rename(filepath.Join(dir, "a.new"), filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		unmount(t, d)
		d.Survive()
		dir = mounted(t, d)
		got, err := os.ReadFile(filepath.Join(dir, "a"))
		if err != nil || string(got) != "old" && string(got) != "new" {
			t.Errorf("got %q, want the old file or the new (%v)", got, err)
		}
		unmount(t, d)
	}
}

func TestUnsyncedSectorsAreTorn(t *testing.T) {
	d := cachetest.New(cachetest.Model{Keep: 0.5, Seed: 1})
	dir := mounted(t, d)
	put(t, dir, "a", string(make([]byte, 64*512)), true, true)
	f, err := os.OpenFile(filepath.Join(dir, "a"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	ones := make([]byte, 64*512)
	for i := range ones {
		ones[i] = 1
	}
	if _, err := f.Write(ones); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.Cut()
	unmount(t, d)
	d.Survive()
	dir = mounted(t, d)
	defer unmount(t, d)
	b, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || len(b) != len(ones) {
		t.Fatalf("got %d bytes, want %d (%v)", len(b), len(ones), err)
	}
	kept := 0
	for at := 0; at < len(b); at += 512 {
		kept += int(b[at])
		if b[at] != b[at+511] {
			t.Error("got half a sector, want whole ones")
		}
	}
	if kept < 10 || kept > 54 {
		t.Errorf("got %d of 64 sectors kept, want about half", kept)
	}
}

func TestBrokenDiskAnswersAsAKernelDoes(t *testing.T) {
	d := cachetest.New(cachetest.Model{})
	dir := mounted(t, d)
	defer unmount(t, d)
	put(t, dir, "a", "hello", true, true)
	a := filepath.Join(dir, "a")
	over := func() error { // as long as it was
		f, err := os.OpenFile(a, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("HELLO")
		return err
	}
	sync := func() error {
		f, err := os.Open(a)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	}
	longer := func() error { return os.WriteFile(a, []byte("hello, hello"), 0o600) }
	read := func() error { _, err := os.ReadFile(a); return err }
	remove := func() error { return os.Remove(a) }
	for name, c := range map[string]struct {
		fault cachetest.Fault
		do    func() error
		want  error
	}{
		"full: longer":      {cachetest.Fault{Full: true}, longer, syscall.ENOSPC},
		"full: over":        {cachetest.Fault{Full: true}, over, nil},
		"full: read":        {cachetest.Fault{Full: true}, read, nil},
		"read-only: over":   {cachetest.Fault{ReadOnly: true}, over, syscall.EROFS},
		"read-only: remove": {cachetest.Fault{ReadOnly: true}, remove, syscall.EROFS},
		"read-only: read":   {cachetest.Fault{ReadOnly: true}, read, nil},
		"write: over":       {cachetest.Fault{Write: syscall.EIO}, over, syscall.EIO},
		"read: read":        {cachetest.Fault{Read: syscall.EIO}, read, syscall.EIO},
		"sync: over":        {cachetest.Fault{Sync: syscall.EIO}, over, nil},
		"sync: sync":        {cachetest.Fault{Sync: syscall.EIO}, sync, syscall.EIO},
		"well: longer":      {cachetest.Fault{}, longer, nil},
	} {
		d.Break(c.fault)
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		d.Break(cachetest.Fault{})
		put(t, dir, "a", "hello", true, true)
	}
}

// What a sync that failed was to write is lost, and the next one does not say so.
func TestFailedSyncPromisesNothingLater(t *testing.T) {
	d := cachetest.New(cachetest.Model{})
	dir := mounted(t, d)
	f, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	d.Break(cachetest.Fault{Sync: syscall.EIO})
	first := f.Sync()
	d.Break(cachetest.Fault{})
	second := f.Sync()
	f.Close()
	put(t, dir, "b", "", true, true) // and the folder
	unmount(t, d)
	d.Survive()
	dir = mounted(t, d)
	defer unmount(t, d)
	b, err := os.ReadFile(filepath.Join(dir, "a"))
	if first == nil || second != nil || err != nil || string(b) == "hello" {
		t.Errorf("got %v, then %v and %q (%v), want an error, none, and no hello", first, second, b, err)
	}
}
