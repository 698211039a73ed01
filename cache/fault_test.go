package cache_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"badged/cache"
	"badged/session"
)

// asides are the files that were put aside beside path.
func asides(t *testing.T, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + ".damaged-[0-9]") // without their logs
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestT9_UnusableFileIsPutAside(t *testing.T) {
	foreign := func(t *testing.T, path string) {
		db, err := sql.Open("sqlite3", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE TABLE songs (title)"); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"not a database":    func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("hello ", 2000))) },
		"another program's": foreign,
		"cut short":         func(t *testing.T, path string) { b := read(t, path); write(t, path, b[:len(b)/2]) },
		"a later version's": func(t *testing.T, path string) { b := read(t, path); b[63] = 99; write(t, path, b) },
		"first page lost":   func(t *testing.T, path string) { b := read(t, path); clear(b[100:4096]); write(t, path, b) },
	} {
		t.Run("ledger "+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			if name != "another program's" {
				l := openLedger(t, path, opts)
				commit(t, l, 5)
				l.Close()
			}
			spoil(t, path)
			spoiled := read(t, path)
			l := openLedger(t, path, opts)
			commit(t, l, 2)
			if s := stats(t, l); l.Recovered() == "" || s.End < 3 {
				t.Errorf("got %q and %d records, want a word and a new ledger", l.Recovered(), s.End)
			}
			if kept := asides(t, path); len(kept) != 1 || !bytes.Equal(read(t, kept[0]), spoiled) {
				t.Errorf("got %v put aside, want the file as it was", kept)
			}
		})
		t.Run("list "+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "list.db")
			if name != "another program's" {
				l := openList(t, path)
				load(t, l, 100)
				l.Close()
			}
			spoil(t, path)
			l := openList(t, path)
			if name == "cut short" && l.Recovered() == "" { // seen only when it is read: Check says so
				if err := l.Check(context.Background()); err == nil {
					t.Error("got no error from Check, want one")
				}
				return
			}
			load(t, l, 3)
			if l.Recovered() == "" || len(asides(t, path)) != 1 {
				t.Errorf("got %q and %v, want a word and one file", l.Recovered(), asides(t, path))
			}
		})
	}
}

func TestT9_ChangedRecordIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	commit(t, l, 5)
	if err := errors.Join(l.RaiseHead(t.Context(), version(7, 0)), l.SaveKeySet(t.Context(), "via-roma-12", []byte("keys"))); err != nil {
		t.Fatal(err)
	}
	l.Close()
	b := read(t, path)
	at := bytes.Index(b, []byte(`"energy":3`))
	if at < 0 {
		t.Fatal("no record in the file")
	}
	b[at+len(`"energy":`)] = '9'
	write(t, path, b)
	l = openLedger(t, path, opts)
	if !strings.Contains(l.Recovered(), "does not follow") {
		t.Errorf("got %q, want a broken chain", l.Recovered())
	}
	// All but the changed record go on in the new ledger, with the states.
	got := unsent(t, l, 100)
	verifyChain(t, got)
	var energies []int64
	for _, m := range got[1:] {
		var r struct{ Energy int64 }
		if err := json.Unmarshal(m.Record, &r); err != nil || !bytes.Contains(m.Record, []byte(`"carried":{"hash":`)) {
			t.Fatalf("got %s, want a record carried over (%v)", m.Record, err)
		}
		energies = append(energies, r.Energy)
	}
	if fmt.Sprint(energies) != "[0 1 2 4]" || !bytes.Contains(got[0].Record, []byte(`"why":"damaged"`)) {
		t.Errorf("got records %v after %s, want 0 1 2 4", energies, got[0].Record)
	}
	if head, err := l.HighestHead(t.Context(), "via-roma-12"); storedState(t, l) != 4 || !sameHead(head, version(7, 0)) || err != nil {
		t.Errorf("got state %d and head %+v %v, want them kept", storedState(t, l), head, err)
	}
	if keys, err := l.KeySet(t.Context(), "via-roma-12"); string(keys) != "keys" || err != nil {
		t.Errorf("got key set %q %v, want it kept", keys, err)
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), nil)
	for name, open := range map[string]func(path string) error{
		"ledger": func(path string) error { _, err := cache.OpenLedger(path, opts); return err },
		"list":   func(path string) error { _, err := cache.OpenList(path); return err },
	} {
		if err := open(filepath.Join(dir, "file", "x.db")); err == nil || !strings.Contains(err.Error(), "state folder "+filepath.Join(dir, "file")) {
			t.Errorf("%s: got %v, want the folder named", name, err)
		}
		if os.Getuid() == 0 {
			continue // root may write anywhere
		}
		closed := filepath.Join(t.TempDir(), "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := open(filepath.Join(closed, "x.db")); err == nil || !strings.Contains(err.Error(), "chown") {
			t.Errorf("%s: got %v, want the owner that is needed", name, err)
		}
	}
}

func start(n int) session.Commit {
	return session.Commit{Records: []session.Record{event(n, session.Started)}, States: map[string][]byte{"washer": []byte("on")}}
}

func end(n int) session.Commit {
	return session.Commit{Records: []session.Record{event(n, session.Ended)}, States: map[string][]byte{"washer": []byte("off")}}
}

func TestFullBudgetRefusesNewSessionsOnly(t *testing.T) {
	o := opts
	o.MaxBytes = 200 << 10
	l := openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), o)
	n := 0
	var err error
	for ; err == nil && n < 5000; n++ {
		err = l.Commit(t.Context(), start(n))
	}
	if !errors.Is(err, session.ErrFull) || n < 50 {
		t.Fatalf("got %v after %d, want ErrFull", err, n)
	}
	if err := l.Commit(t.Context(), end(n)); err != nil {
		t.Errorf("got %v, want running sessions to end", err)
	}
	before := stats(t, l)
	if err := l.Commit(t.Context(), start(n)); !errors.Is(err, session.ErrFull) || stats(t, l).End != before.End {
		t.Errorf("got %v, want ErrFull and no record", err)
	}
}

// smallDisk mounts a file system of 4 MiB, which takes root.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("mount a small disk:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskStillEndsSessions(t *testing.T) {
	dir := smallDisk(t)
	l := openLedger(t, filepath.Join(dir, "ledger.db"), opts)
	if err := l.Commit(t.Context(), start(0)); err != nil {
		t.Fatal(err)
	}
	hog := filepath.Join(dir, "hog")
	defer os.Remove(hog)
	fill(t, hog)
	for n := range 10 {
		if err := l.Commit(t.Context(), end(n)); err != nil {
			t.Fatalf("end %d: got %v, want the reserve used", n, err)
		}
	}
	fill(t, hog+"2")
	defer os.Remove(hog + "2")
	if err := l.Commit(t.Context(), start(1)); !errors.Is(err, session.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	os.Remove(hog)
	os.Remove(hog + "2")
	if err := l.Commit(t.Context(), start(2)); err != nil {
		t.Errorf("got %v, want room again", err)
	}
}

// fill writes until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; _, err = f.Write(make([]byte, size)) {
		}
	}
}
