package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"badged/cmd/internal/durable"
)

func writeJSON(path string, v any, mode os.FileMode) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return durable.WriteFile(path, append(b, '\n'), mode)
}

// ErrInUse is what opening a folder answers that another process works in.
var ErrInUse = errors.New("in use by another process")

// lock keeps other processes off the folder until the file is closed.
func lock(dir string) (*os.File, error) {
	if err := durable.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("open store: %s is %w: %w", dir, ErrInUse, err)
	}
	return f, nil
}
