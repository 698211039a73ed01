package cache

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// openOrReplace opens the ledger's file. One that is unfit is replaced: see replace.
func (l *Ledger) openOrReplace() error {
	if err := settle(l.path); err != nil {
		return err
	}
	db, err := openChecked(l.path, ledgerSchema, checkLedger)
	for range 3 { // a disk may fail to read once
		if !unreadable(err) {
			break
		}
		db, err = openChecked(l.path, ledgerSchema, checkLedger)
	}
	if errors.Is(err, errUnfit) || unreadable(err) {
		return l.replace(err)
	}
	l.db = db
	return err
}

// unreadable tells a file with a place that the disk cannot read back
// (https://sqlite.org/rescode.html#ioerr_read).
func unreadable(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.ExtendedCode == sqlite3.ErrIoErrRead || e.ExtendedCode == sqlite3.ErrIoErrShortRead)
}

// read runs f on the file in use; where that turns out to be damaged, once more on
// the one that replaces it. f must not write and not lock l.mu.
func (l *Ledger) read(f func(*sql.DB) error) error {
	l.swap.RLock()
	db := l.db
	err := f(db)
	l.swap.RUnlock()
	if !errors.Is(unfit(err), errUnfit) {
		return err
	}
	l.mu.Lock()
	if l.db == db {
		err = l.mend(err)
	} else {
		err = nil // somebody else has replaced it
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.swap.RLock()
	defer l.swap.RUnlock()
	return f(l.db)
}

// mend replaces the file in use, in which why was found. l.mu is held.
func (l *Ledger) mend(why error) error {
	l.swap.Lock()
	defer l.swap.Unlock()
	// Closing folds the log into a file that is damaged anyway; what it complains of is known.
	_ = l.db.Close()
	if err := l.replace(why); err != nil {
		// The damaged file goes on as well as it can, and the next change tries again.
		db, openErr := openDB(l.path, ledgerSchema.pageSize)
		if openErr == nil {
			l.db = db
		}
		return errors.Join(why, err, openErr)
	}
	l.wake()
	return nil
}

// replace puts the file, which nobody has open, aside and begins a new ledger with
// what can be read of it; states in memory go before states in the file. The new
// file is made whole under another name and takes its place last, so that a power
// cut leaves the old one in place, or the new one whole: see settle.
func (l *Ledger) replace(why error) (err error) {
	saved, err := salvage(l.path)
	if err != nil {
		return err
	}
	maps.Copy(saved.states, l.states)
	if err := errors.Join(l.make(l.path+".new", saved), saved.db.Close()); err != nil {
		return fmt.Errorf("make a new ledger: %w", err)
	}
	l.reach("made")
	aside, err := quarantine(l.path)
	if err != nil {
		return err
	}
	l.reach("aside")
	if err := settle(l.path); err != nil {
		return err
	}
	l.reach("settled")
	if l.db, err = openFile(l.path, ledgerSchema); err != nil {
		return err
	}
	l.recovered = recovery{aside, fmt.Sprintf("%s was unusable (%v): kept as %s, begun anew; %s", l.path, why, aside, saved)}
	return nil
}

// make makes a ledger of what was saved, closed and on disk. The id and base in
// memory are the new one's if it succeeds.
func (l *Ledger) make(path string, saved *salvaged) (err error) {
	if err := removeDB(path); err != nil {
		return err
	}
	db, err := openFile(path, ledgerSchema)
	if err != nil {
		return err
	}
	id, base := l.id, l.base
	l.id = saved.ledger
	err = inTx(db, func(tx *sql.Tx) error {
		if err := l.begin(tx, "damaged"); err != nil {
			return err
		}
		return l.adopt(tx, saved)
	})
	// The last to close a database folds its log into it and removes the log.
	if err = errors.Join(err, db.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		l.id, l.base = id, base
		return errors.Join(err, removeDB(path))
	}
	return nil
}

// settle puts a ledger that was made to replace another in its place. Where the
// other is still there, it was not yet put aside: then the new one may be half made,
// and is made again. What is left of the other's log belongs with it.
func settle(path string) error {
	next := path + ".new"
	if _, err := os.Lstat(next); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return removeDB(next)
	}
	aside, err := lastAside(path)
	if err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lastAside is the file that quarantine moved last.
func lastAside(path string) (string, error) {
	all, err := filepath.Glob(path + ".damaged-*")
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm")
	})
	if err != nil || len(all) == 0 {
		return path + ".damaged-1", err
	}
	return slices.MaxFunc(all, func(a, b string) int {
		if len(a) != len(b) { // by number
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	}), nil
}

// removeDB removes a database that nobody needs.
func removeDB(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
