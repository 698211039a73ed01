package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/durable"
)

// set writes the reference with its key files into a folder of its own, and gives
// it values.
func set(t *testing.T, values ...string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for _, keygen := range []func(string) error{backend.Keygen, backend.CommandKeygen, backend.RootKeygen} {
		if err := keygen(dir); err != nil {
			t.Fatal(err)
		}
	}
	doc := []byte(reference(t))
	for i := 0; i < len(values); i += 2 {
		var err error
		if doc, err = Set(doc, values[i], values[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "badged.toml")
	put(t, path, string(doc))
	return path
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What only a person can mend is an *Error, with what to do.
func TestConfigsThatCannotBeHad(t *testing.T) {
	dir := t.TempDir()
	for path, says := range map[string]string{
		filepath.Join(dir, "gone.toml"): "badgectl provision apply",
		dir:                             "is a directory; want the file itself",
		"/dev/zero":                     "larger than 1 MiB",
		"/dev/null/x":                   "not a directory",
	} {
		_, err := Load(path)
		var bad *Error
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), path+": file: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an Error with %q", err, says)
		}
		if gone := strings.HasSuffix(path, "gone.toml"); errors.Is(err, fs.ErrNotExist) != gone {
			t.Errorf("got %v, want it to tell that there is no file: %t", err, gone)
		}
	}
	// Root may read all, so the system's answer stands for the file.
	closed := &fs.PathError{Op: "open", Path: "/etc/badged/badged.toml", Err: syscall.EACCES}
	if err := unreadable(closed.Path, closed); !strings.Contains(err.Error(), "permission denied; the user that runs this") || strings.Contains(err.Error(), "open /etc") {
		t.Errorf("got %v, want what to do", err)
	}
	key := &fs.PathError{Op: "open", Path: "/etc/badged/gateway.key", Err: syscall.EACCES}
	if got := denied(fmt.Errorf("pair: %w", key)); !strings.HasSuffix(got.Error(), "sudo chown badged /etc/badged/gateway.key") {
		t.Errorf("got %v, want whose it has to be", got)
	}
	broken := &fs.PathError{Op: "read", Path: "/etc/badged/badged.toml", Err: syscall.EIO}
	if err := unreadable(broken.Path, broken); errors.As(err, new(*Error)) || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want an error that may pass", err)
	}
}

// A gateway starts without its broker's files, and not without its keys.
func TestStartable(t *testing.T) {
	c, err := Load(set(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Startable(); err != nil {
		t.Errorf("got %v, want it startable: no file of the broker is there, but all keys", err)
	}
	if _, err := c.Check(); err == nil || !strings.Contains(err.Error(), "broker.ca: open") {
		t.Errorf("got %v, want the check to miss the broker's files", err)
	}
	for key, line := range map[string]string{"list.keys": "keys =", "list.root_keys": "root_keys =", "commands.keys": "keys =", "gateway.site_key": "site_key ="} {
		for value, says := range map[string]string{
			"gone": "no such file", ".": "is a directory", "/dev/zero": "larger than 1 MiB", "badged.toml": "no ",
		} {
			path := set(t, key, value)
			c, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Startable()
			var bad *Error
			if !errors.As(err, &bad) || len(bad.Problems) != 1 || bad.Problems[0].Key != key || !strings.Contains(err.Error(), says) || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s = %q: got %v, want an Error of that key with %q", key, value, err, says)
			}
			b, _ := os.ReadFile(path)
			if n := bad.Problems[0].Line; n == 0 || !strings.HasPrefix(strings.Split(string(b), "\n")[n-1], line) {
				t.Errorf("%s: got line %d, want the one that begins with %s", key, n, line)
			}
		}
	}
}

func TestEndlessAndEmptyFilesOfTheBroker(t *testing.T) {
	for key, value := range map[string]string{"broker.ca": "/dev/zero", "broker.key": "/dev/zero", "broker.password_file": "empty"} {
		path := set(t, key, value)
		put(t, filepath.Join(filepath.Dir(path), "empty"), "")
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want := durable.ErrLarge.Error()
		if value == "empty" {
			want = "is empty; want the password in it"
		}
		put(t, c.Broker.Cert, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
		if _, err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", key, err, want)
		}
	}
}
