package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/uplink"
)

// ErrNoCommandKeys is what Rotate answers that does not know who may command.
var ErrNoCommandKeys = errors.New("there is no key set yet to take the command keys from")

// ErrReplaced is what is answered to a key that may not sign any more.
var ErrReplaced = errors.New("was replaced")

// RotateOpts say how keys are replaced.
type RotateOpts struct {
	Root jose.JSONWebKey // signs who may sign from now on
	// Commands are all who may sign commands from now on; nil leaves those of the
	// last key set, and is an error where there is none.
	Commands *jose.JSONWebKeySet
	// After is a sequence that was used before, for a store and a broker that have both
	// forgotten it.
	After uint64
}

// Rotate makes the publisher's key the only one that may sign the list, at every
// gateway that pins the root. First both the keys before and the new one may, then
// the head is signed by the new one, then the others go: no gateway ever meets a
// head that it must refuse, and one that was away finds the last set and the last
// head. Cut short at any point it can simply be called again.
func (p *Publisher) Rotate(ctx context.Context, o RotateOpts) (uplink.KeySet, error) {
	if everyday := p.signers(); len(with(everyday, o.Root).Keys) == len(everyday.Keys) {
		return uplink.KeySet{}, fmt.Errorf("rotate: %s signs lists, a root must be another key (badgectl list keygen --kind root)", o.Root.KeyID)
	}
	l, err := p.connect(ctx)
	if err != nil {
		return uplink.KeySet{}, err
	}
	defer l.Close()
	set, err := p.rotate(ctx, l, o)
	if err != nil {
		return set, fmt.Errorf("rotate: %w", err)
	}
	return set, nil
}

func (p *Publisher) rotate(ctx context.Context, l *link, o RotateOpts) (uplink.KeySet, error) {
	before, err := p.held(ctx, l)
	if err == nil {
		err = p.ours(before)
	}
	if err != nil {
		return uplink.KeySet{}, err
	}
	last, known, settled, err := p.lastSet(ctx, l, o)
	if err != nil {
		return last, err
	}
	next := last
	switch {
	case o.Commands != nil:
		next.CommandKeys = *o.Commands
	case !known:
		return last, ErrNoCommandKeys
	}
	if next.ListKeys = with(last.ListKeys, p.key); !settled || !sameKeys(next.ListKeys, last.ListKeys) {
		if last, err = p.signSet(next, o.Root); err != nil {
			return last, err
		}
	}
	if _, err := p.mend(ctx, l, before); err != nil {
		return last, err
	}
	if p.store.saved.Head.Version > 0 {
		if err := p.sendHead(ctx, l, before.raw); err != nil {
			return last, err
		}
	}
	next.Sequence, next.ListKeys = last.Sequence, with(jose.JSONWebKeySet{}, p.key)
	if sameKeys(last.ListKeys, next.ListKeys) && sameKeys(last.CommandKeys, next.CommandKeys) {
		return last, nil
	}
	if last, err = p.signSet(next, o.Root); err != nil {
		return last, err
	}
	_, err = p.placeKeys(ctx, l)
	return last, err
}

// sameKeys tells whether two sets are of the same keys, each of them once.
func sameKeys(a, b jose.JSONWebKeySet) bool {
	all := a
	for _, k := range b.Keys {
		all = with(all, k)
	}
	return len(a.Keys) == len(b.Keys) && len(all.Keys) == len(a.Keys)
}

// lastSet is the newest key set that is known, of the store or of the broker; one
// of the broker's that a root of this list has signed becomes the store's. Where
// none is known its list keys are those that gateways must have pinned. Settled
// tells that it is by this root, and the only one of its number.
func (p *Publisher) lastSet(ctx context.Context, l *link, o RotateOpts) (last uplink.KeySet, known, settled bool, err error) {
	list, topic := string(p.store.topics), p.store.topics.Keys()
	roots := with(p.store.saved.Roots, o.Root)
	last = uplink.KeySet{List: list, Sequence: o.After, ListKeys: p.store.saved.Signers}
	byRoot := func(message []byte) bool {
		_, err := uplink.ParseKeySet(message, with(jose.JSONWebKeySet{}, o.Root), list)
		return err == nil
	}
	mine, err := p.store.keys()
	if err != nil {
		return last, false, false, err
	}
	found, err := l.fetch(ctx, topic)
	if err != nil {
		return last, false, false, err
	}
	theirs := found[topic]
	if k, err := uplink.ParseKeySet(mine, roots, list); err == nil && k.Sequence > last.Sequence {
		last, known = k, true
	}
	switch k, err := uplink.ParseKeySet(theirs, roots, list); {
	case err != nil || k.Sequence < last.Sequence || bytes.Equal(theirs, mine):
		return last, known, known && byRoot(mine), nil
	case k.Sequence == last.Sequence:
		return last, known, false, nil // two of one number: only another one is right everywhere
	default:
		return k, true, byRoot(theirs), p.keepSet(theirs, o.Root)
	}
}

// signSet makes the set the next one, and the store's.
func (p *Publisher) signSet(k uplink.KeySet, root jose.JSONWebKey) (uplink.KeySet, error) {
	k.Sequence++
	k.IssuedAt = p.Now().UTC().Truncate(time.Second)
	message, err := uplink.SignKeySet(k, root)
	if err != nil {
		return k, err
	}
	return k, p.keepSet(message, root)
}

// keepSet keeps the message of a set by that root.
func (p *Publisher) keepSet(message []byte, root jose.JSONWebKey) error {
	next := p.store.saved
	if next.Roots = with(next.Roots, root); len(next.Roots.Keys) > len(p.store.saved.Roots.Keys) {
		if err := p.store.commit(next); err != nil {
			return err
		}
	}
	return p.store.put(0, p.store.topics.Keys(), message)
}

// placeKeys makes sure that the broker has the store's key set, if there is one.
// It replaces what no root of this store has signed, and stops at a newer set.
func (p *Publisher) placeKeys(ctx context.Context, l *link) (sent int, err error) {
	mine, err := p.store.keys()
	if err != nil || mine == nil {
		return 0, err
	}
	topic := p.store.topics.Keys()
	found, err := l.fetch(ctx, topic)
	if err != nil {
		return 0, err
	}
	set, err := uplink.ParseKeySet(mine, p.store.saved.Roots, string(p.store.topics))
	if err != nil {
		return 0, fmt.Errorf("read store: %w", err)
	}
	there, err := uplink.ParseKeySet(found[topic], p.store.saved.Roots, string(p.store.topics))
	if err == nil && (there.Sequence > set.Sequence || there.Sequence == set.Sequence && !bytes.Equal(found[topic], mine)) {
		return 0, fmt.Errorf("%w: key set %d there, %d here (are keys rotated elsewhere too?)", ErrMoved, there.Sequence, set.Sequence)
	}
	return l.place(ctx, []string{topic}, false, p.store.piece)
}

// maySign refuses to sign by a key that gateways do not take any more.
func (p *Publisher) maySign() error {
	mine, err := p.store.keys()
	if err != nil || mine == nil {
		return err
	}
	set, err := uplink.ParseKeySet(mine, p.store.saved.Roots, string(p.store.topics))
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	if len(with(set.ListKeys, p.key).Keys) == len(set.ListKeys.Keys) {
		return nil
	}
	var kids []string
	for _, k := range set.ListKeys.Keys {
		kids = append(kids, k.KeyID)
	}
	slices.Sort(kids)
	return fmt.Errorf("the key %s %w: gateways take heads by %s only", p.key.KeyID, ErrReplaced, strings.Join(kids, ", "))
}
