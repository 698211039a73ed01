package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"badged/session"
)

// ErrDamaged is wrapped by what a List answers once its file has turned out to be
// damaged; Rebuild is what to do about it.
var ErrDamaged = errors.New("the list's file is damaged")

// broken is what is known of damage to a list's file while it is in use. The zero
// value is a list that is well.
type broken struct {
	mu    sync.Mutex
	why   error  // of the file in use, nil while it is well
	rest  lookup // what can still be read of the one put aside, until the next list is in force
	stale bool   // rest answers
}

// mind remembers what err says about the file, and marks it.
func (l *List) mind(err error) error {
	if err == nil || !damage(err) {
		return err
	}
	l.broken.mu.Lock()
	defer l.broken.mu.Unlock()
	if l.broken.why == nil {
		l.broken.why = err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// damage tells a file that is at fault, or a disk that cannot read it back, from
// everything else.
func damage(err error) bool {
	return errors.Is(unfit(err), errUnfit) || unreadable(err)
}

// Damaged is why the file in use needs Rebuild, nil while it is not known to.
func (l *List) Damaged() error {
	l.broken.mu.Lock()
	defer l.broken.mu.Unlock()
	return l.broken.why
}

// Rebuild puts a damaged file aside, under the name that it returns, and begins
// an empty list in its place, which the publisher's list can be loaded into. Until
// that is in force, what can be read of the file put aside answers: see Lookup.
// Of the lists put aside only the last is kept: a card that fails must not be filled
// with them. After an error lookups go on as well as they can, and Rebuild may be called
// again.
func (l *List) Rebuild() (aside string, err error) {
	l.swap.Lock()
	defer l.swap.Unlock()
	why := l.Damaged()
	if why == nil {
		return "", nil
	}
	// What closing a damaged file complains of is known already.
	_, _ = l.write.Close(), l.lookup.close()
	if aside, err = l.renew(); err != nil {
		return aside, errors.Join(fmt.Errorf("rebuild list: %w", err), l.answer())
	}
	l.broken.replaced(aside)
	return aside, l.forget(aside)
}

// forget removes the lists that were put aside before the last.
func (l *List) forget(last string) error {
	all, err := filepath.Glob(l.path + ".damaged-*")
	for _, path := range all {
		name, _ := strings.CutSuffix(path, "-wal")
		name, _ = strings.CutSuffix(name, "-shm")
		if name != last && listSchema.foreign(name) == nil {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

func (l *List) renew() (aside string, err error) {
	if aside, err = quarantine(l.path); err != nil {
		return "", err
	}
	if l.write, err = openFile(l.path, listSchema); err != nil {
		return aside, err
	}
	return aside, l.answer()
}

// replaced turns to what is left of the file that was put aside.
func (b *broken) replaced(aside string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.rest.close()
	b.why, b.stale = nil, false
	c, err := newConnector(aside, listSchema.pageSize)
	if err != nil {
		return
	}
	b.stale = b.rest.open(c.reading()) == nil
}

// badge answers from what was put aside, if anything was.
func (b *broken) badge(ctx context.Context, uid []byte) (*row, session.ListVersion, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stale {
		return nil, session.ListVersion{}, nil
	}
	r, v, err := b.rest.badge(ctx, uid)
	if r == nil || err != nil {
		return nil, session.ListVersion{}, fmt.Errorf("%w, and the next one is not here yet", ErrDamaged)
	}
	return r, v, nil
}

// miss is what a badge gets that was not found in the file in use.
func (b *broken) miss() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, b.why)
	}
	return nil
}

// over ends the use of what was put aside: there is a list again.
func (b *broken) over() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.rest.close()
	b.stale = false
}
