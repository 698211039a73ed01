package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MaxFile bounds what ReadFile and ReadAll read; keys, certificates and configs
// have some kilobytes.
const MaxFile = 1 << 20

// ErrLarge is a file beyond MaxFile, or one without an end.
var ErrLarge = errors.New("larger than 1 MiB; is it the right file?")

// ReadFile reads a small file that somebody named. A device without an end is too
// large, and a pipe that nobody writes into is empty: neither keeps anybody waiting.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, path)
}

// ReadAll reads a small file from r; name is what errors call it.
func ReadAll(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%s: %w", name, ErrLarge)
	}
	return b, nil
}

// lasting are the errors of the system about a file that stay until somebody does
// something: another name, another right, another kind of file.
var lasting = []error{fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENXIO}

// Lasting tells whether reading a file again cannot come out better than err: it is
// not there, may not be read, or is not what it should be. Errors of the disk, and
// of a system without memory or descriptors, may pass.
func Lasting(err error) bool {
	for _, e := range lasting {
		if errors.Is(err, e) {
			return true
		}
	}
	var system syscall.Errno
	return err != nil && !errors.As(err, &system)
}
