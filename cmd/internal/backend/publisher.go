package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
	"badged/uplink"
)

const (
	maxPush      = 16        // deltas in one push; more make a snapshot
	maxPushItems = 20_000    // badges in one push; more make a snapshot
	maxSince     = 64        // deltas after a snapshot, before the next one
	maxSinceSize = 256 << 10 // bytes of theirs
	maxKept      = 128       // deltas before the head that stay on the broker
	shrinkShare  = 5         // a push that removes more than a fifth …
	shrinkFloor  = 2         // … and more than this many badges wants force
)

// ErrShrinks is what a push answers that would remove many badges at once.
var ErrShrinks = errors.New("list shrinks a lot")

// ErrMoved is what a push answers when the broker's list is not the one that
// this store published last.
var ErrMoved = errors.New("the broker has another list than this store published")

// Publisher publishes one list from its own folder. One process has it open at a
// time; its methods are for one goroutine.
type Publisher struct {
	store  *store
	key    jose.JSONWebKey
	broker BrokerOpts

	// Now and Settle may be set by tests: the clock, and how long a broker may take
	// to send what it has retained.
	Now    func() time.Time
	Settle time.Duration
}

// OpenPublisher opens the folder of the list under dir, or makes it. Close frees it.
func OpenPublisher(dir, list string, broker BrokerOpts, key jose.JSONWebKey) (*Publisher, error) {
	s, err := openStore(dir, list)
	if err != nil {
		return nil, err
	}
	return &Publisher{store: s, key: key, broker: broker, Now: time.Now, Settle: settle}, nil
}

// Close frees the folder.
func (p *Publisher) Close() error { return p.store.lock.Close() }

// PushOpts are the ways to push.
type PushOpts struct {
	DryRun   bool // only tell what would change
	Force    bool // even if the list shrinks a lot
	NewEpoch bool // replace a list that another store published: this one's state was lost
}

// Pushed tells what a push did, or would do.
type Pushed struct {
	Epoch    uint64            `json:"epoch"`
	From     uint64            `json:"from"` // version before, 0 for none
	To       uint64            `json:"to"`
	Count    int               `json:"count"`
	Put      []session.Entry   `json:"put"`
	Remove   []session.IDToken `json:"remove"`
	Snapshot bool              `json:"snapshot"` // a new snapshot was made
}

// Push makes entries, sorted by UID, the list: it writes the new version to the
// folder, sends its pieces to the broker, reads each back, and sends the head
// last. Cut short at any point it can simply be called again.
func (p *Publisher) Push(ctx context.Context, entries []session.Entry, o PushOpts) (Pushed, error) {
	if o.DryRun {
		next, err := p.prepare(entries, o, p.store.saved.Head.Epoch+1)
		if err != nil {
			return Pushed{}, err
		}
		return next.pushed, nil
	}
	l, err := connect(ctx, p.broker, p.Settle)
	if err != nil {
		return Pushed{}, err
	}
	defer l.Close()
	held, err := p.held(ctx, l)
	if err != nil {
		return Pushed{}, err
	}
	if err := p.ours(held); err != nil && !o.NewEpoch {
		return Pushed{}, err
	}
	next, err := p.prepare(entries, o, max(held.head.Epoch, p.store.saved.Head.Epoch)+1)
	if err != nil {
		return Pushed{}, err
	}
	mine := p.store.saved.Head
	upToDate := mine.Version > 0 && held.head.At().Compare(mine.At()) == 0 && held.head.Digest == mine.Digest
	if err := next.write(p.store); err != nil {
		return Pushed{}, fmt.Errorf("push: %w", err)
	}
	if err := p.publish(ctx, l, held, next.topics(p.store.topics), upToDate); err != nil {
		return Pushed{}, fmt.Errorf("push: %w", err)
	}
	return next.pushed, nil
}

// held is the head that the broker has; raw is nil when it has none. It stays
// watched.
type held struct {
	raw     []byte
	head    uplink.Head
	foreign error // why it is no head by this key
}

func (p *Publisher) held(ctx context.Context, l *link) (held, error) {
	raw, err := l.watch(ctx, p.store.topics.Head())
	if err != nil || raw == nil {
		return held{}, err
	}
	h, err := uplink.ParseHead(raw, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}}, string(p.store.topics))
	return held{raw, h, err}, nil
}

// ours tells whether the broker's head is one of this store's. An older one is,
// after a push that was cut short or on a broker that was restored.
func (p *Publisher) ours(h held) error {
	mine := p.store.saved.Head
	switch at := h.head.At().Compare(mine.At()); {
	case h.raw == nil:
		return nil
	case h.foreign != nil:
		return fmt.Errorf("%w, or none at all: %w", ErrMoved, h.foreign)
	case at > 0, at == 0 && h.head.Digest != mine.Digest, h.head.Epoch != mine.Epoch:
		return fmt.Errorf("%w: version %d.%d there, %d.%d here (is there a second publisher? If this store's state was lost, push with a new epoch)",
			ErrMoved, h.head.Epoch, h.head.Version, mine.Epoch, mine.Version)
	}
	return nil
}

// publish sends what fresh names, or everything when the broker is behind, and
// the head last, if nobody else's came meanwhile.
func (p *Publisher) publish(ctx context.Context, l *link, before held, fresh []string, upToDate bool) error {
	if !upToDate {
		all, err := p.store.needed()
		if err != nil {
			return err
		}
		fresh = all
	}
	if _, err := l.place(ctx, fresh, before.raw == nil || upToDate, p.store.piece); err != nil {
		return err
	}
	now, err := l.unwatch(ctx)
	if err != nil {
		return err
	}
	if string(now) != string(before.raw) {
		return fmt.Errorf("%w: its head moved during the push", ErrMoved)
	}
	if err := p.sendHead(ctx, l); err != nil {
		return err
	}
	return p.clear(ctx, l)
}

// sendHead signs the head, with a later time than ever before, and has the
// broker keep it.
func (p *Publisher) sendHead(ctx context.Context, l *link) error {
	next := p.store.saved
	issued := p.Now().UTC().Truncate(time.Millisecond)
	if !issued.After(next.Head.IssuedAt) {
		issued = next.Head.IssuedAt.Add(time.Millisecond)
	}
	next.Head.IssuedAt = issued
	if err := p.store.commit(next); err != nil {
		return err
	}
	message, err := uplink.SignHead(next.Head, p.key)
	if err != nil {
		return err
	}
	_, err = l.place(ctx, []string{p.store.topics.Head()}, true, func(string) ([]byte, error) { return message, nil })
	return err
}

// clear takes from the broker, then from the folder, what nothing needs any more.
func (p *Publisher) clear(ctx context.Context, l *link) error {
	old, err := p.store.unneeded()
	if err != nil {
		return err
	}
	for _, topic := range old {
		if err := l.Publish(ctx, topic, true, nil); err != nil {
			return err
		}
		if err := p.store.drop(topic); err != nil {
			return err
		}
	}
	return nil
}

// Repair signs the head anew and sends the broker whatever it has lost. It
// returns how many pieces were sent.
func (p *Publisher) Repair(ctx context.Context) (sent int, err error) {
	if p.store.saved.Head.Version == 0 {
		return 0, errors.New("nothing was pushed from this store yet")
	}
	l, err := connect(ctx, p.broker, p.Settle)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	before, err := p.held(ctx, l)
	if err != nil {
		return 0, err
	}
	if err := p.ours(before); err != nil {
		return 0, err
	}
	all, err := p.store.needed()
	if err != nil {
		return 0, err
	}
	if sent, err = l.place(ctx, all, before.raw == nil, p.store.piece); err != nil {
		return sent, fmt.Errorf("repair: %w", err)
	}
	return sent, p.sendHead(ctx, l)
}

// Entries is the list as it was pushed last, sorted by UID.
func (p *Publisher) Entries() ([]session.Entry, error) {
	m, err := p.store.load()
	if err != nil {
		return nil, err
	}
	return sorted(m), nil
}

func sorted(m map[session.IDToken]session.Entry) []session.Entry {
	entries := make([]session.Entry, 0, len(m))
	for _, uid := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, m[uid])
	}
	return entries
}
