package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"badged/cmd/internal/durable"
)

func TestReadFileHasAnEnd(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"whole": durable.MaxFile, "large": durable.MaxFile + 1} {
		if err := os.WriteFile(path(name), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		size int
		err  error
	}{
		path("whole"):       {durable.MaxFile, nil},
		path("large"):       {0, durable.ErrLarge},
		"/dev/zero":         {0, durable.ErrLarge},
		path("pipe"):        {0, nil},
		dir:                 {0, syscall.EISDIR},
		path("gone"):        {0, fs.ErrNotExist},
		path("whole/below"): {0, syscall.ENOTDIR},
	} {
		b, err := durable.ReadFile(file)
		if len(b) != want.size || !errors.Is(err, want.err) {
			t.Errorf("%s: got %d bytes, %v, want %d and %v", file, len(b), err, want.size, want.err)
		}
		if want.err != nil && !durable.Lasting(err) {
			t.Errorf("%s: got %v for an error that may pass", file, err)
		}
	}
}

func TestErrorsOfTheDiskMayPass(t *testing.T) {
	for _, e := range []error{syscall.EIO, syscall.ENOMEM, syscall.EMFILE, syscall.ESTALE, syscall.ENODEV, syscall.EAGAIN} {
		if durable.Lasting(fmt.Errorf("read: %w", &fs.PathError{Op: "read", Path: "x", Err: e})) {
			t.Errorf("%v: got an error that stays", e)
		}
	}
	if durable.Lasting(nil) || !durable.Lasting(fs.ErrPermission) || !durable.Lasting(errors.New("no PEM")) {
		t.Error("got nil as an error, or a lasting one that may pass")
	}
}
