package backend

import (
	"context"
	"time"
)

const (
	lookInterval = 5 * time.Minute // between looks at the broker's head
	readInterval = time.Hour       // between looks at all of the list there
	signInterval = 24 * time.Hour
)

// Watch keeps the broker's copy whole until ctx ends: it signs the head anew every
// day, and sends what the broker has lost: at once where the head is gone, within
// the hour anything else. open gives it the folder, which it closes between two
// looks, so that others may push. report is told of each repair and of each error;
// Watch goes on after them.
func Watch(ctx context.Context, open func() (*Publisher, error), report func(sent int, err error)) error {
	t := time.NewTimer(0)
	defer t.Stop()
	var read time.Time // all of the list
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		whole := time.Since(read) >= readInterval
		if done, sent, err := look(ctx, open, whole); ctx.Err() == nil {
			if whole && err == nil {
				read = time.Now()
			}
			if done || err != nil {
				report(sent, err)
			}
		}
		t.Reset(lookInterval)
	}
}

// look does what is due: done tells whether there was anything to do.
func look(ctx context.Context, open func() (*Publisher, error), whole bool) (done bool, sent int, err error) {
	p, err := open()
	if err != nil {
		return false, 0, err
	}
	defer p.Close()
	due, err := p.due(ctx, whole)
	if err != nil || !due {
		return false, 0, err
	}
	sent, err = p.Repair(ctx)
	return true, sent, err
}

// due tells whether the head is old or not on the broker or, if whole, whether
// anything is not there.
func (p *Publisher) due(ctx context.Context, whole bool) (bool, error) {
	if p.store.saved.Head.Version == 0 {
		return false, ErrNothing
	}
	l, err := p.connect(ctx)
	if err != nil {
		return false, err
	}
	defer l.Close()
	h, err := p.held(ctx, l)
	if err == nil {
		err = p.ours(h)
	}
	if err != nil {
		return false, err
	}
	mine := p.store.saved.Head
	if !h.same(mine) || !h.head.IssuedAt.Equal(mine.IssuedAt) || p.Now().Sub(mine.IssuedAt) >= signInterval {
		return true, nil
	}
	if !whole {
		return false, nil
	}
	all, err := p.store.needed()
	if err != nil {
		return false, err
	}
	if keys, err := p.store.keys(); err != nil {
		return false, err
	} else if keys != nil {
		all = append(all, p.store.topics.Keys())
	}
	return l.lacks(ctx, all, p.store.piece)
}
