package uplink

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeySet  = 16 << 10
	maxKeys    = 16 // of each kind
	keySetType = "badged-keys"
)

// KeySet says who may sign a list, and commands to the gateways that follow it.
// It is whole: who is not in it may not. A root key signs it.
type KeySet struct {
	List     string    `json:"list"`
	Sequence uint64    `json:"sequence"` // from 1; a gateway never goes back
	IssuedAt time.Time `json:"issuedAt"` // for people
	// ListKeys is at least one; CommandKeys may be none: then nobody commands.
	ListKeys    jose.JSONWebKeySet `json:"listKeys"`
	CommandKeys jose.JSONWebKeySet `json:"commandKeys"`
}

// SignKeySet makes the message for the topic of keys: a compact JWS (RFC 7515) by
// an Ed25519 root key that has a key id.
func SignKeySet(k KeySet, root jose.JSONWebKey) ([]byte, error) {
	if k.CommandKeys.Keys == nil {
		k.CommandKeys.Keys = []jose.JSONWebKey{} // [] in JSON, not null
	}
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("sign key set: %w", err)
	}
	b, err := sign(k, keySetType, root)
	if err == nil && len(b) > maxKeySet {
		err = fmt.Errorf("%d bytes, at most %d are allowed", len(b), maxKeySet)
	}
	if err != nil {
		return nil, fmt.Errorf("sign key set: %w", err)
	}
	return b, nil
}

// ParseKeySet checks that one of the roots signed the message, that it is a key
// set of that list, and that it makes sense in itself.
func ParseKeySet(message []byte, roots jose.JSONWebKeySet, list string) (KeySet, error) {
	k, err := parseKeySet(message, roots)
	if err == nil && k.List != list {
		err = fmt.Errorf("is of the list %.64q, want %q", k.List, list)
	}
	if err != nil {
		return KeySet{}, fmt.Errorf("key set: %w", err)
	}
	return k, nil
}

func parseKeySet(message []byte, roots jose.JSONWebKeySet) (k KeySet, err error) {
	b, err := verify(message, maxKeySet, keySetType, roots)
	if err != nil {
		return k, err
	}
	if err := unmarshal(b, &k); err != nil {
		return k, err
	}
	if err := require(b, "list", "sequence", "issuedAt", "listKeys", "commandKeys"); err != nil {
		return k, err
	}
	return k, k.check()
}

func (k KeySet) check() error {
	switch {
	case CheckID(k.List) != nil:
		return CheckID(k.List)
	case k.Sequence == 0 || k.Sequence > maxInteger:
		return fmt.Errorf("sequence %d is out of range", k.Sequence)
	case len(k.ListKeys.Keys) == 0:
		return errors.New("no list key in it")
	case k.IssuedAt.IsZero():
		return errors.New("issuedAt is missing")
	}
	return errors.Join(checkKeys("list", k.ListKeys), checkKeys("command", k.CommandKeys))
}

func checkKeys(what string, set jose.JSONWebKeySet) error {
	if len(set.Keys) > maxKeys {
		return fmt.Errorf("%d %s keys, at most %d are allowed", len(set.Keys), what, maxKeys)
	}
	seen := make(map[string]bool)
	for _, key := range set.Keys {
		switch _, public := key.Key.(ed25519.PublicKey); {
		case !public:
			return fmt.Errorf("%s key %.64q is no public Ed25519 key", what, key.KeyID)
		case key.KeyID == "" || seen[key.KeyID]:
			return fmt.Errorf("%s key has the key id %.64q, want one of its own", what, key.KeyID)
		}
		seen[key.KeyID] = true
	}
	return nil
}

// KeyStore keeps the key set in force of each list apart from the list itself.
type KeyStore interface {
	// KeySet is the message that SaveKeySet was told last, nil if none.
	KeySet(ctx context.Context, list string) ([]byte, error)
	// SaveKeySet keeps the message durably.
	SaveKeySet(ctx context.Context, list string, message []byte) error
}

// errKeyStore is a key set that is right and could not be kept.
var errKeyStore = errors.New("key set not kept")

// keyring is who may sign, now: those that were pinned, until a root replaces
// them. Without roots nobody does. It is safe for concurrent use.
type keyring struct {
	name  string // of the list
	roots jose.JSONWebKeySet
	store KeyStore

	mu             sync.Mutex
	list, commands jose.JSONWebKeySet
	sequence       uint64 // 0: those that were pinned
	message        []byte
	loaded         bool
	obeys          bool // takes commands at all
}

func newKeyring(o Opts) *keyring {
	return &keyring{name: o.List, roots: o.Roots, store: o.KeyStore, list: o.Keys, commands: o.Commands.Keys,
		obeys: len(o.Commands.Keys.Keys) > 0}
}

// rooted tells whether a root may replace the keys.
func (r *keyring) rooted() bool { return len(r.roots.Keys) > 0 }

func (r *keyring) lists() jose.JSONWebKeySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}

func (r *keyring) commanders() jose.JSONWebKeySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commands
}

func (r *keyring) at() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sequence
}

// load puts the key set in force that was kept, once. One that no pinned root
// signed is not obeyed: the roots are then others than they were.
func (r *keyring) load(ctx context.Context) error {
	if !r.rooted() || r.loaded {
		return nil
	}
	message, err := r.store.KeySet(ctx, r.name)
	if err != nil {
		return fmt.Errorf("read key set: %w", err)
	}
	r.loaded = true
	if k, err := ParseKeySet(message, r.roots, r.name); err == nil {
		r.use(k, message)
	}
	return nil
}

// use takes the set. A gateway that was set up to take no commands takes none.
func (r *keyring) use(k KeySet, message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sequence, r.message, r.list = k.Sequence, message, k.ListKeys
	if r.obeys {
		r.commands = k.CommandKeys
	}
}

// offer takes a message that came. It is kept before it counts; fresh is false
// where it is the one in force. The error is errKeyStore where only keeping failed.
func (r *keyring) offer(ctx context.Context, message []byte) (fresh bool, err error) {
	k, err := ParseKeySet(message, r.roots, r.name)
	switch at := r.at(); {
	case err != nil:
		return false, err
	case k.Sequence < at:
		return false, fmt.Errorf("key set %d is older than %d, which is in force (rollback)", k.Sequence, at)
	case k.Sequence == at && !bytes.Equal(message, r.message):
		return false, fmt.Errorf("key set %d is another than the one in force (fork: is the root used in two places?)", k.Sequence)
	case k.Sequence == at:
		return false, nil
	}
	if err := r.store.SaveKeySet(ctx, r.name, message); err != nil {
		return false, fmt.Errorf("%w: %w", errKeyStore, err)
	}
	r.use(k, message)
	return true, nil
}

// newKeys takes a key set. A head that was accepted by the keys before and is not
// in force yet does not count any more; one by the new keys, which may have come
// too early, is asked for again.
func (s *listSync) newKeys(ctx context.Context, payload []byte) error {
	fresh, err := s.keys.offer(ctx, payload)
	switch {
	case errors.Is(err, errKeyStore):
		return s.later(ctx, err)
	case err != nil:
		s.refuse(err)
		return nil
	case !fresh:
		return nil
	}
	s.head, s.retryAt, s.failures = Head{}, time.Time{}, 0
	s.report(ListEvent{ListRekeyed, s.inForce, nil})
	if err := errors.Join(s.leave(ctx), s.plan(ctx)); err != nil {
		return err
	}
	return s.ask(ctx)
}
