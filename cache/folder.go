package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockFile takes the file path+".lock" for this process alone until it is
// closed or the process ends, and makes the folder where it is missing.
func lockFile(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, err)
	}
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, folderError(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		return nil, lockError(f, path, err)
	}
	// The pid only helps whoever meets the lock: one that cannot be written hurts nobody.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return f, nil
}

func lockError(f *os.File, path string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	holder := strings.TrimSpace(string(b[:n]))
	if holder == "" {
		holder = "unknown"
	}
	return fmt.Errorf("%s is in use by another process (pid %s): only one daemon may run on it, stop that one first", path, holder)
}

// folderError says whose the folder must be, where rights are what is missing.
func folderError(dir string, err error) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("state folder %s: %w", dir, err)
	}
	if errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("state folder %s is on a read-only file system: mount it writable (mount -o remount,rw) and look at the card's health: %w", dir, err)
	}
	return fmt.Errorf("state folder %s is not writable: this process runs as %s, the folder must belong to that user with all in it (chown -R %[2]s %[1]s): %[3]w", dir, userName(os.Getuid()), err)
}

func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return strconv.Itoa(uid)
	}
	return u.Username
}
