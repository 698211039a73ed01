package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// maxPath is what sun_path holds beside its final zero (unix(7)), less the
	// ".new" that a socket has at first.
	maxPath = 107 - 4
	// stopTimeout is what requests in progress get at the end.
	stopTimeout = time.Second
	// headerTimeout ends a caller who connects and says nothing.
	headerTimeout = 5 * time.Second
)

// Serve answers with h on a unix socket at path, mode 0660, until ctx ends. The
// socket file of a dead process is replaced; while another process serves
// there, Serve returns an error. Requests see the end of ctx in their context.
func Serve(ctx context.Context, path string, h http.Handler) error {
	l, unlock, err := listen(path)
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	defer unlock()
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { shutdown(s) })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", path, err)
	}
	return nil
}

func shutdown(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		s.Close()
	}
}

// listen opens the socket under a lock on a file beside it, which the kernel
// takes back from a process that dies: so a socket file can be told from a
// socket, without a race between two that start at once.
func listen(path string) (net.Listener, func(), error) {
	if len(path) > maxPath {
		return nil, nil, fmt.Errorf("path %s is longer than the %d bytes of a socket: choose a shorter one with --socket", path, maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, nil, err
	}
	l, err := replace(path)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return l, func() { os.Remove(path); unlock() }, nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another daemon runs: it holds %s (%w): stop it, or give this one another --socket", path, err)
	}
	return func() { f.Close() }, nil
}

func replace(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is not a socket: move it away, or choose another path with --socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// It gets its name last: nobody finds it before its mode is right.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o660), os.Rename(fresh, path)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
