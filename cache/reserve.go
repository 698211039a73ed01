package cache

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"badged/session"
)

// reserve is a file that only takes room. It is removed when the disk is full,
// so that running sessions can end, and made again when there is room.
type reserve struct {
	path string
	size int64
}

// ensure makes the file where it is missing; an error says that there is no
// room for it.
func (r reserve) ensure() error {
	if st, err := os.Stat(r.path); err == nil && st.Size() == r.size {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	err = syscall.Fallocate(int(f.Fd()), 0, 0, r.size)
	if errors.Is(err, syscall.EOPNOTSUPP) { // not every file system can: FAT, NFS
		_, err = io.CopyN(f, zeros{}, r.size)
	}
	if err != nil {
		os.Remove(r.path)
	}
	return err
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// release gives the room back and says whether there was any.
func (r reserve) release() bool { return os.Remove(r.path) == nil }

// room is session.ErrFull where a new session must not begin.
func (l *Ledger) room() error {
	if err := l.reserve.ensure(); err != nil {
		return fmt.Errorf("%w: the disk of %s has no reserve of %d MiB: make room: %w", session.ErrFull, l.path, l.opts.Reserve>>20, err)
	}
	var used int64
	err := l.read(func(db *sql.DB) (err error) {
		used, err = usedBytes(db)
		return err
	})
	if err != nil {
		return fmt.Errorf("size of ledger: %w", err)
	}
	if used >= l.opts.MaxBytes {
		return fmt.Errorf("%w: the ledger has %d of %d MiB: the backend must acknowledge records before more are made", session.ErrFull, used>>20, l.opts.MaxBytes>>20)
	}
	return nil
}

// usedBytes is the size of the file without its free pages.
func usedBytes(db *sql.DB) (n int64, err error) {
	err = db.QueryRow(`SELECT (page_count - freelist_count) * page_size
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&n)
	return n, err
}
