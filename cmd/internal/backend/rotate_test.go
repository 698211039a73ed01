package backend_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// newKey makes a pair in a folder of its own and reads the private one.
func newKey(t testing.TB, make func(dir string) error, file string) jose.JSONWebKey {
	t.Helper()
	dir := t.TempDir()
	if err := make(dir); err != nil {
		t.Fatal(err)
	}
	key, err := backend.ReadKey(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func listKey(t testing.TB) jose.JSONWebKey { return newKey(t, backend.Keygen, backend.KeyFile) }
func rootKey(t testing.TB) jose.JSONWebKey { return newKey(t, backend.RootKeygen, backend.RootKeyFile) }

func publicOf(keys ...jose.JSONWebKey) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return set
}

// follower is a gateway with real stores that pins a root.
type follower struct {
	t      *testing.T
	path   string // of the list's file
	list   *cache.List
	ledger *cache.Ledger
	o      uplink.Opts
	client *uplink.Client
	stop   func()

	mu      sync.Mutex
	refused []string
}

func newFollower(t *testing.T, b backend.BrokerOpts, pinned, root jose.JSONWebKeySet) *follower {
	t.Helper()
	dir := t.TempDir()
	f := &follower{t: t, path: filepath.Join(dir, "list.db"), stop: func() {}}
	var err error
	if f.list, err = cache.OpenList(f.path); err != nil {
		t.Fatal(err)
	}
	if f.ledger, err = cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1",
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.stop()
		f.list.Close()
		f.ledger.Close()
	})
	f.o = uplink.Opts{Gateway: "gw-1", Broker: b, List: "desk", Keys: pinned, Roots: root, KeyStore: f.ledger,
		Store: f.list, Ratchet: f.ledger, Outbox: f.ledger, OnList: f.hear}
	return f
}

func (f *follower) hear(e uplink.ListEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == uplink.ListRefused {
		f.refused = append(f.refused, e.Reason.Error())
	}
}

// start connects the gateway; stop takes it off again.
func (f *follower) start() {
	f.t.Helper()
	var err error
	if f.client, err = uplink.New(f.o); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	client := f.client
	go func() { done <- client.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("gateway ended: %v", err)
		}
		f.stop = func() {}
	}
}

func (f *follower) until(what string, keys uint64, count int) {
	f.t.Helper()
	until(f.t, what, func() bool {
		v, err := f.list.InForce(f.t.Context())
		return err == nil && v.Count == count && f.client.State().List.Keys == keys
	})
}

func rotate(t *testing.T, dir string, b backend.BrokerOpts, key jose.JSONWebKey, o backend.RotateOpts) uplink.KeySet {
	t.Helper()
	p := open(t, dir, b, key)
	defer p.Close()
	set, err := p.Rotate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestRotateReachesEveryGatewayWithoutARefusal(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 5), backend.PushOpts{})
	p.Close()
	old, err := backend.ReadKey(filepath.Join(dir, backend.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	fresh, root, commands := listKey(t), rootKey(t), publicOf(newKey(t, backend.CommandKeygen, backend.CommandKeyFile))
	there := newFollower(t, b, publicOf(old), publicOf(root))
	away := newFollower(t, b, publicOf(old), publicOf(root))
	away.o.Gateway = "gw-2"
	for _, f := range []*follower{there, away} {
		f.start()
		f.until("the list", 0, 5)
	}
	away.stop()

	if set := rotate(t, dir, b, fresh, backend.RotateOpts{Root: root, Commands: &commands}); set.Sequence != 2 || len(set.ListKeys.Keys) != 1 || len(set.CommandKeys.Keys) != 1 {
		t.Errorf("got %+v, want set 2 of the new key and the command key", set)
	}
	there.until("the new keys", 2, 5)
	p = open(t, dir, b, fresh)
	push(t, p, badges(0, 6), backend.PushOpts{})
	p.Close()
	there.until("a version by the new key", 2, 6)
	away.start()
	away.until("all of it, after it was away", 2, 6)
	for _, f := range []*follower{there, away} {
		f.mu.Lock()
		if len(f.refused) > 0 {
			t.Errorf("%s: got refusals %q, want none", f.o.Gateway, f.refused)
		}
		f.mu.Unlock()
	}

	if _, err := open(t, dir, b, old).Push(t.Context(), entries(t, badges(0, 7)), backend.PushOpts{}); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("push by the old key: got %v, want an error that says it was replaced", err)
	}
}

// open opens the folder, as soon as it is free: a process that was just forked
// holds all that this one had locked until it becomes another program.
func open(t *testing.T, dir string, b backend.BrokerOpts, key jose.JSONWebKey) (p *backend.Publisher) {
	t.Helper()
	until(t, "the folder is free", func() (free bool) {
		var err error
		if p, err = backend.OpenPublisher(dir, "desk", b, key); err != nil && !errors.Is(err, backend.ErrInUse) {
			t.Fatal(err)
		}
		return err == nil
	})
	p.Settle = settle
	t.Cleanup(func() { p.Close() })
	return p
}

func TestRotateAgain(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	key, root, none := listKey(t), rootKey(t), publicOf()
	p := open(t, dir, b, key)
	if _, err := p.Rotate(t.Context(), backend.RotateOpts{Root: root}); err == nil || !strings.Contains(err.Error(), "command keys") {
		t.Errorf("nothing known of command keys: got %v, want them asked for", err)
	}
	p.Close()
	if set := rotate(t, dir, b, key, backend.RotateOpts{Root: root, Commands: &none}); set.Sequence != 1 {
		t.Errorf("before any list: got set %d, want 1", set.Sequence)
	}
	p = open(t, dir, b, key)
	push(t, p, badges(0, 3), backend.PushOpts{})
	p.Close()
	if set := rotate(t, dir, b, key, backend.RotateOpts{Root: root}); set.Sequence != 1 {
		t.Errorf("nothing new: got set %d, want still 1", set.Sequence)
	}
	p = open(t, dir, b, key)
	_, err := p.Rotate(t.Context(), backend.RotateOpts{Root: key})
	p.Close()
	if err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("the list key as a root: got %v, want an error", err)
	}
	root = rootKey(t)
	if set := rotate(t, dir, b, key, backend.RotateOpts{Root: root}); set.Sequence != 2 {
		t.Errorf("another root: got set %d, want 2, signed by it", set.Sequence)
	}
	commands := publicOf(listKey(t))
	if set := rotate(t, dir, b, key, backend.RotateOpts{Root: root, Commands: &commands}); set.Sequence != 3 || len(set.CommandKeys.Keys) != 1 {
		t.Errorf("another command key: got %+v, want set 3 with it", set)
	}
	// A store that knows of no set takes over what the broker has of this root.
	if err := os.Remove(filepath.Join(dir, "desk", "keys")); err != nil {
		t.Fatal(err)
	}
	if set := rotate(t, dir, b, listKey(t), backend.RotateOpts{Root: root}); set.Sequence != 5 || len(set.CommandKeys.Keys) != 1 {
		t.Errorf("lost store: got %+v, want set 5 with the command key", set)
	}
	// Another machine that rotated meanwhile is not overrun.
	behind := t.TempDir()
	if err := os.CopyFS(behind, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	last := listKey(t)
	rotate(t, dir, b, last, backend.RotateOpts{Root: root})
	if _, err := open(t, behind, b, last).Repair(t.Context()); err == nil {
		t.Error("an older copy of the store: got no error, want one")
	}
	// Neither store nor broker remember the sequence, but the operator does.
	if set := rotate(t, t.TempDir(), broker(t), key, backend.RotateOpts{Root: root, Commands: &none, After: 6}); set.Sequence != 7 {
		t.Errorf("after 6: got set %d, want 7", set.Sequence)
	}
}

func TestAKeySetIsRepairedAndNeverPutBack(t *testing.T) {
	dir, first := t.TempDir(), broker(t)
	key, root, none := listKey(t), rootKey(t), publicOf()
	p := open(t, dir, first, key)
	push(t, p, badges(0, 3), backend.PushOpts{})
	p.Close()
	rotate(t, dir, first, key, backend.RotateOpts{Root: root, Commands: &none})
	forgot := broker(t)
	p = open(t, dir, forgot, key)
	if sent, err := p.Repair(t.Context()); err != nil || sent != 3 {
		t.Errorf("got %d pieces sent, %v, want keys, index and chunk", sent, err)
	}
	topic := uplink.ListTopics("desk").Keys()
	vandal(t, forgot, topic, []byte("garbage"))
	if sent, err := p.Repair(t.Context()); err != nil || sent != 1 {
		t.Errorf("after a vandal: got %d pieces sent, %v, want the keys again", sent, err)
	}
	newer, err := uplink.SignKeySet(uplink.KeySet{List: "desk", Sequence: 9, IssuedAt: p.Now(), ListKeys: publicOf(listKey(t))}, root)
	if err != nil {
		t.Fatal(err)
	}
	vandal(t, forgot, topic, newer)
	if _, err := p.Repair(t.Context()); !errors.Is(err, backend.ErrMoved) {
		t.Errorf("a newer set of the root's: got %v, want ErrMoved", err)
	}
}
