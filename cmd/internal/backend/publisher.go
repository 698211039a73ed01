package backend

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
	"badged/uplink"
)

const (
	maxPush       = 16        // deltas in one push; more make a snapshot
	maxPushItems  = 20_000    // badges in one push; more make a snapshot
	maxSince      = 64        // deltas after a snapshot, before the next one
	maxSinceSize  = 256 << 10 // bytes of theirs
	maxKept       = 128       // deltas before the head that stay on the broker
	shrinkPercent = 10        // a push that removes a larger share …
	shrinkFloor   = 2         // … and more than this many badges wants force
)

// ErrShrinks is what a push answers that would remove many badges at once.
var ErrShrinks = errors.New("list shrinks a lot")

// ErrMoved is what a push answers when the broker's list is not the one that
// this store published last.
var ErrMoved = errors.New("the broker has another list than this store published")

// ErrNothing is what is answered where a list must be and none was pushed.
var ErrNothing = errors.New("nothing was pushed from this store yet")

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

// OpenPublisher opens the folder of the list under dir, or makes it. Close frees
// it. The error is ErrInUse while another process works there.
func OpenPublisher(dir, list string, broker BrokerOpts, key jose.JSONWebKey) (*Publisher, error) {
	s, err := openStore(dir, list)
	if err != nil {
		return nil, err
	}
	return &Publisher{store: s, key: key, broker: broker, Now: time.Now, Settle: settle}, nil
}

// Close frees the folder.
func (p *Publisher) Close() error { return p.store.lock.Close() }

func (p *Publisher) connect(ctx context.Context) (*link, error) {
	l, err := connect(ctx, p.broker, p.Settle)
	if err == nil {
		l.at = p.store.at
	}
	return l, err
}

// PushOpts are the ways to push.
type PushOpts struct {
	DryRun   bool // only tell what would change
	Force    bool // even if the list shrinks a lot
	NewEpoch bool // replace a list that another store published: this one's state was lost
}

// Pushed tells what a push did, or would do.
type Pushed struct {
	Epoch    uint64
	From     uint64 // version before, 0 for none
	To       uint64
	Count    int
	Put      []session.Entry
	Remove   []session.IDToken
	Snapshot bool // a new snapshot was made
}

// Push makes entries, each badge once, the list: it writes the new version to the
// folder, sends its pieces to the broker, reads each back, and sends the head
// last. Cut short at any point it can simply be called again.
func (p *Publisher) Push(ctx context.Context, entries []session.Entry, o PushOpts) (Pushed, error) {
	entries, err := inOrder(entries)
	if err != nil {
		return Pushed{}, fmt.Errorf("push: %w", err)
	}
	if o.DryRun {
		next, err := p.prepare(entries, o, p.store.saved.Head.Epoch+1)
		return next.pushed, err
	}
	done, err := p.change(ctx, o.NewEpoch, func(epoch uint64) (change, error) { return p.prepare(entries, o, epoch) })
	if err != nil {
		return Pushed{}, fmt.Errorf("push: %w", err)
	}
	return done, nil
}

// Compact makes a new snapshot of the list as it is, so that those that are far
// behind have less to fetch. It does nothing where the newest snapshot is of the
// newest version.
func (p *Publisher) Compact(ctx context.Context) (Pushed, error) {
	done, err := p.change(ctx, false, func(uint64) (change, error) {
		h := p.store.saved.Head
		c := change{next: p.store.saved, pushed: Pushed{Epoch: h.Epoch, From: h.Version, To: h.Version, Count: h.Count}}
		if h.Version == 0 {
			return c, ErrNothing
		}
		if h.Snapshot.Version == h.Version {
			return c, nil
		}
		entries, err := p.Entries()
		if err != nil {
			return c, err
		}
		return c, c.compact(entries)
	})
	if err != nil {
		return Pushed{}, fmt.Errorf("compact: %w", err)
	}
	return done, nil
}

// change publishes what make makes. Epoch is the one to begin where newEpoch
// replaces whatever list the broker has.
func (p *Publisher) change(ctx context.Context, newEpoch bool, make func(epoch uint64) (change, error)) (Pushed, error) {
	if err := p.maySign(); err != nil {
		return Pushed{}, err
	}
	l, err := p.connect(ctx)
	if err != nil {
		return Pushed{}, err
	}
	defer l.Close()
	held, err := p.held(ctx, l)
	if err != nil {
		return Pushed{}, err
	}
	err = p.ours(held)
	if err != nil && !newEpoch {
		return Pushed{}, err
	}
	next, err := make(max(held.head.Epoch, p.store.saved.Head.Epoch) + 1)
	if err != nil {
		return Pushed{}, err
	}
	if newEpoch && held.foreign != nil {
		next.next.Replaces = sha256.Sum256(held.raw)
	}
	upToDate := held.same(p.store.saved.Head)
	if err := next.write(p.store); err != nil {
		return Pushed{}, err
	}
	return next.pushed, p.publish(ctx, l, held, next.topics(p.store.topics), upToDate)
}

// held is the head that the broker has; raw is nil when it has none. It stays
// watched.
type held struct {
	raw     []byte
	head    uplink.Head
	foreign error // why it is no head by a key of ours
}

// same tells whether the head names all that another one names, whenever the two
// were issued.
func (h held) same(as uplink.Head) bool {
	as.IssuedAt = h.head.IssuedAt
	return h.raw != nil && h.foreign == nil && h.head == as
}

func (p *Publisher) held(ctx context.Context, l *link) (held, error) {
	raw, err := l.watch(ctx, p.store.topics.Head())
	if err != nil || raw == nil {
		return held{}, err
	}
	h, err := uplink.ParseHead(raw, p.signers(), string(p.store.topics))
	return held{raw, h, err}, nil
}

// signers are all keys that have signed heads of this store, and the one that
// does now.
func (p *Publisher) signers() jose.JSONWebKeySet { return with(p.store.saved.Signers, p.key) }

// with is the set with a key's public half.
func with(set jose.JSONWebKeySet, key jose.JSONWebKey) jose.JSONWebKeySet {
	public := key.Public()
	if slices.ContainsFunc(set.Keys, func(k jose.JSONWebKey) bool { return k.KeyID == public.KeyID && reflect.DeepEqual(k.Key, public.Key) }) {
		return set
	}
	return jose.JSONWebKeySet{Keys: append(slices.Clone(set.Keys), public)}
}

// ours tells whether the broker's head is one of this store's. An older one is,
// after a push that was cut short or on a broker that was restored.
func (p *Publisher) ours(h held) error {
	mine := p.store.saved.Head
	switch at := h.head.At().Compare(mine.At()); {
	case h.raw == nil:
		return nil
	case h.foreign != nil && mine.Version > 0 && sha256.Sum256(h.raw) == p.store.saved.Replaces:
		return nil
	case h.foreign != nil:
		return fmt.Errorf("%w, or none at all: %w", ErrMoved, h.foreign)
	case at > 0, at == 0 && h.head.Digest != mine.Digest:
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
	if _, err := p.placeKeys(ctx, l); err != nil {
		return err
	}
	if _, err := l.place(ctx, fresh, before.raw == nil || upToDate, p.store.piece); err != nil {
		return err
	}
	if err := p.sendHead(ctx, l, before.raw); err != nil {
		return err
	}
	return p.clear(ctx, l)
}

// sendHead signs the head, with a later time than ever before, and has the
// broker keep it, unless it has another than before by now.
func (p *Publisher) sendHead(ctx context.Context, l *link, before []byte) error {
	now, err := l.unwatch(ctx)
	if err != nil {
		return err
	}
	if string(now) != string(before) {
		return fmt.Errorf("%w: its head moved meanwhile (is there a second publisher?)", ErrMoved)
	}
	next := p.store.saved
	next.Signers = p.signers()
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
	return p.keepHead(ctx, l, message, before)
}

// keepHead sends the head until the broker has it, and listens for a moment: MQTT
// cannot swap one message for another, so whoever looked before this head came may
// still send theirs. It stops where another one than before takes its place.
func (p *Publisher) keepHead(ctx context.Context, l *link, message, before []byte) error {
	topic := p.store.topics.Head()
	for range 3 {
		if err := l.Publish(ctx, topic, true, message); err != nil {
			return err
		}
		l.reach("head sent")
		now, err := l.watch(ctx, topic)
		if string(now) == string(message) && err == nil {
			now, err = l.linger(ctx)
		}
		if err == nil {
			_, err = l.unwatch(ctx)
		}
		switch {
		case err != nil:
			return err
		case string(now) == string(message):
			return nil
		case now != nil && string(now) != string(before):
			return fmt.Errorf("%w: another head took the place of this one (is there a second publisher?)", ErrMoved)
		}
	}
	return notKept(topic)
}

// clear takes from the broker, then from the folder, what nothing needs any more.
func (p *Publisher) clear(ctx context.Context, l *link) error {
	old, err := p.store.unneeded()
	if err != nil {
		return err
	}
	for _, o := range old {
		if o.topic != "" {
			if err := l.Publish(ctx, o.topic, true, nil); err != nil {
				return err
			}
			l.reach("piece cleared")
		}
		if err := p.store.drop(o); err != nil {
			return err
		}
	}
	return nil
}

// Repair signs the head anew and sends the broker whatever it has lost. It
// returns how many pieces were sent.
func (p *Publisher) Repair(ctx context.Context) (sent int, err error) {
	if p.store.saved.Head.Version == 0 {
		return 0, ErrNothing
	}
	if err := p.maySign(); err != nil {
		return 0, err
	}
	l, err := p.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	before, err := p.held(ctx, l)
	if err != nil {
		return 0, err
	}
	if sent, err = p.mend(ctx, l, before); err != nil {
		return sent, fmt.Errorf("repair: %w", err)
	}
	if err := p.sendHead(ctx, l, before.raw); err != nil {
		return sent, err
	}
	return sent, p.clear(ctx, l)
}

// mend sends the broker all that the head needs and it does not have.
func (p *Publisher) mend(ctx context.Context, l *link, before held) (sent int, err error) {
	if err := p.ours(before); err != nil {
		return 0, err
	}
	all, err := p.store.needed()
	if err != nil {
		return 0, err
	}
	keys, err := p.placeKeys(ctx, l)
	if err != nil {
		return keys, err
	}
	sent, err = l.place(ctx, all, before.raw == nil, p.store.piece)
	return keys + sent, err
}

// Entries is the list as it was pushed last, sorted by UID.
func (p *Publisher) Entries() ([]session.Entry, error) { return p.store.load() }
