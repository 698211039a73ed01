package uplink_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
	"badged/uplink"
)

// keyOf is a signing key made of a seed.
func keyOf(kid string, seed byte) jose.JSONWebKey {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return jose.JSONWebKey{Key: private, KeyID: kid, Algorithm: "EdDSA", Use: "sig"}
}

func public(all ...jose.JSONWebKey) (set jose.JSONWebKeySet) {
	for _, k := range all {
		set.Keys = append(set.Keys, k.Public())
	}
	return set
}

var root = keyOf("root", 9)

// keySet is the message that names those who may sign lists and commands.
func keySet(t testing.TB, sequence uint64, list, commands jose.JSONWebKeySet) []byte {
	t.Helper()
	b, err := uplink.SignKeySet(uplink.KeySet{List: "desk", Sequence: sequence, IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		ListKeys: list, CommandKeys: commands}, root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const keysHeader = `{"alg":"EdDSA","kid":"root","typ":"badged-keys"}`

func TestKeySets(t *testing.T) {
	list, _ := keys()
	whole := keySet(t, 3, public(list, keyOf("k2", 2)), public(keyOf("c1", 3)))
	got, err := uplink.ParseKeySet(whole, public(root), "desk")
	if err != nil || got.Sequence != 3 || len(got.ListKeys.Keys) != 2 || got.ListKeys.Keys[1].KeyID != "k2" || len(got.CommandKeys.Keys) != 1 {
		t.Fatalf("got %+v, %v, want it as it was signed", got, err)
	}
	var payload map[string]any
	b, _ := json.Marshal(got)
	with := func(change func(map[string]any)) string {
		payload = map[string]any{}
		if err := json.Unmarshal(b, &payload); err != nil {
			t.Fatal(err)
		}
		change(payload)
		out, _ := json.Marshal(payload)
		return string(out)
	}
	set := func(name string, v any) string { return with(func(m map[string]any) { m[name] = v }) }
	asIs := string(b)
	jwk := func(k jose.JSONWebKey) map[string]any {
		var m map[string]any
		b, _ := k.MarshalJSON()
		_ = json.Unmarshal(b, &m)
		return m
	}
	of := func(all ...any) map[string]any { return map[string]any{"keys": all} }
	good := jwk(public(keyOf("k2", 2)).Keys[0])
	many := make([]any, 17)
	for i := range many {
		many[i] = jwk(public(keyOf(fmt.Sprint("k", i), byte(i))).Keys[0])
	}
	for name, c := range map[string]struct {
		message []byte
		ok      bool
	}{
		"as it should be":        {forgeBy(root, keysHeader, asIs), true},
		"no commands":            {forgeBy(root, keysHeader, set("commandKeys", of())), true},
		"an unknown member":      {forgeBy(root, keysHeader, set("later", 1)), true},
		"without a kid":          {forgeBy(root, `{"alg":"EdDSA","typ":"badged-keys"}`, asIs), true},
		"by a list key":          {forgeBy(list, `{"alg":"EdDSA","kid":"k1","typ":"badged-keys"}`, asIs), false},
		"by a list key as root":  {forgeBy(list, keysHeader, asIs), false},
		"by no key":              {forgeBy(root, `{"alg":"none","kid":"root","typ":"badged-keys"}`, asIs), false},
		"a head":                 {forgeBy(root, `{"alg":"EdDSA","kid":"root","typ":"badged-head"}`, asIs), false},
		"a command":              {forgeBy(root, `{"alg":"EdDSA","kid":"root","typ":"badged-command"}`, asIs), false},
		"key in the header":      {forgeBy(list, `{"alg":"EdDSA","typ":"badged-keys","jwk":{"kty":"OKP"}}`, asIs), false},
		"changed signature":      {spoil(whole), false},
		"nothing":                {nil, false},
		"another list":           {forgeBy(root, keysHeader, set("list", "other")), false},
		"sequence 0":             {forgeBy(root, keysHeader, set("sequence", 0)), false},
		"sequence beyond 2^53":   {forgeBy(root, keysHeader, set("sequence", 1<<53)), false},
		"no sequence":            {forgeBy(root, keysHeader, with(func(m map[string]any) { delete(m, "sequence") })), false},
		"no command keys member": {forgeBy(root, keysHeader, with(func(m map[string]any) { delete(m, "commandKeys") })), false},
		"nobody signs lists":     {forgeBy(root, keysHeader, set("listKeys", of())), false},
		"list keys are null":     {forgeBy(root, keysHeader, set("listKeys", nil)), false},
		"a private key":          {forgeBy(root, keysHeader, set("listKeys", of(jwk(keyOf("k2", 2))))), false},
		"a key twice":            {forgeBy(root, keysHeader, set("listKeys", of(good, good))), false},
		"a key without kid":      {forgeBy(root, keysHeader, set("listKeys", of(jwk(public(keyOf("", 2)).Keys[0])))), false},
		"a symmetric key":        {forgeBy(root, keysHeader, set("commandKeys", of(map[string]any{"kty": "oct", "kid": "s", "k": "AAAA"}))), false},
		"a key of no kind":       {forgeBy(root, keysHeader, set("listKeys", of(map[string]any{"kty": "cat", "kid": "s"}))), false},
		"16 keys":                {forgeBy(root, keysHeader, set("listKeys", of(many[:16]...))), true},
		"17 keys":                {forgeBy(root, keysHeader, set("listKeys", of(many...))), false},
		"more than 16 KiB":       {forgeBy(root, keysHeader, set("later", strings.Repeat("x", 16<<10))), false},
		"a member twice":         {forgeBy(root, keysHeader, strings.Replace(asIs, `{`, `{"sequence":9,`, 1)), false},
	} {
		if _, err := uplink.ParseKeySet(c.message, public(root), "desk"); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want accepted: %t", name, err, c.ok)
		}
	}
}

// rooted is a gateway whose root is pinned, and a publisher with two list keys.
type rooted struct {
	*uplink.Conn
	t      *testing.T
	o      uplink.Opts
	m      *memory
	book   *book
	client *uplink.Client

	mu     sync.Mutex
	events []uplink.ListEvent
}

func newRooted(t *testing.T) *rooted {
	url := broker(t)
	r := &rooted{t: t, m: newMemory(), Conn: dial(t, url, "publisher"), book: filled(3, 2)}
	r.o = opts(url, r.m)
	r.o.Roots, r.o.KeyStore = public(root), r.m
	r.o.OnList = func(e uplink.ListEvent) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	r.book.publishTo(t, r.Conn)
	return r
}

// next publishes another version, its head signed by k.
func (r *rooted) next(k jose.JSONWebKey) {
	r.t.Helper()
	r.book.push(entry(uid(int(r.book.version())), session.Blocked))
	for topic, b := range r.book.messages(r.t) {
		if topic != r.book.topics.Head() {
			publish(r.t, r.Conn, topic, b)
		}
	}
	b, err := uplink.SignHead(r.book.head(), k)
	if err != nil {
		r.t.Fatal(err)
	}
	publish(r.t, r.Conn, r.book.topics.Head(), b)
}

func (r *rooted) keys(message []byte) { publish(r.t, r.Conn, r.book.topics.Keys(), message) }

func (r *rooted) refused(what, says string) {
	r.t.Helper()
	until(r.t, what, func() bool {
		s := r.client.State().List
		return s.Refused > 0 && strings.Contains(s.Last, says)
	})
}

func (r *rooted) inForce() {
	r.t.Helper()
	until(r.t, "the book's version is in force", func() bool { v, _ := r.m.InForce(r.t.Context()); return v.Version == r.book.version() })
}

func TestARootReplacesTheListKeys(t *testing.T) {
	r := newRooted(t)
	old, _ := keys()
	fresh := keyOf("k2", 2)
	r.client = run(t, r.o)
	r.inForce()
	r.keys(keySet(t, 1, public(fresh), public()))
	until(t, "the keys are in force", func() bool { return r.client.State().List.Keys == 1 })
	r.next(fresh)
	r.inForce()
	r.next(old)
	r.refused("a head by the old key is refused", `signed by key "k1"`)
	if v, _ := r.m.InForce(t.Context()); v.Version != r.book.version()-1 {
		t.Errorf("got version %d, want the one before, %d", v.Version, r.book.version()-1)
	}
}

// A gateway that was away for all of it finds keys and head in any order.
func TestAGatewayFollowsKeysThatCameWhileItWasAway(t *testing.T) {
	for name, early := range map[string]bool{"with the head": false, "after the head": true} {
		t.Run(name, func(t *testing.T) {
			r := newRooted(t)
			fresh := keyOf("k2", 2)
			message := keySet(t, 4, public(fresh), public())
			if !early {
				r.keys(message)
			}
			r.next(fresh)
			r.client = run(t, r.o)
			if early {
				r.refused("the head by a key not known yet is refused", `"k2"`)
				r.keys(message)
			}
			r.inForce()
		})
	}
}

func TestKeySetsThatAreRefusedLeaveTheOldKeys(t *testing.T) {
	old, _ := keys()
	fresh, thief := keyOf("k2", 2), keyOf("thief", 6)
	for name, c := range map[string]struct {
		message []byte
		says    string
	}{
		"an older one":       {keySet(t, 1, public(thief), public()), "rollback"},
		"another of its own": {keySet(t, 2, public(thief), public()), "fork"},
		"by a list key":      {forgeBy(fresh, `{"alg":"EdDSA","kid":"k2","typ":"badged-keys"}`, "{}"), "not among the pinned"},
		"by nobody":          {forgeBy(root, `{"alg":"none","typ":"badged-keys"}`, "{}"), "alg EdDSA"},
		"rubbish":            {[]byte("keys"), "JWS"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRooted(t)
			r.keys(keySet(t, 2, public(fresh), public()))
			r.client = run(t, r.o)
			until(t, "the keys are in force", func() bool { return r.client.State().List.Keys == 2 })
			r.keys(c.message)
			r.refused("the key set is refused", c.says)
			r.next(thief)
			r.refused("a head by its key is refused", `"thief"`)
			r.next(old)
			r.refused("a head by the first key is refused", `"k1"`)
			r.next(fresh)
			r.inForce()
			r.mu.Lock()
			defer r.mu.Unlock()
			reported := 0
			for _, e := range r.events {
				if why := fmt.Sprint(e.Reason); e.Kind == uplink.ListRefused && strings.Contains(why, "key set") && strings.Contains(why, c.says) {
					reported++
				}
			}
			if reported != 1 {
				t.Errorf("got %d reports of the refusal, want 1", reported)
			}
		})
	}
}

func TestKeysAreKeptOverARestart(t *testing.T) {
	r := newRooted(t)
	old, _ := keys()
	fresh := keyOf("k2", 2)
	r.m.keySet = keySet(t, 7, public(fresh), public())
	r.client = run(t, r.o)
	r.refused("a head by the first key", `"k1"`)
	r.next(fresh)
	r.inForce()

	other := newRooted(t) // its root is another: what is kept counts no more
	other.m.keySet = r.m.keySet
	other.o.Roots = public(keyOf("root", 8))
	other.client = run(t, other.o)
	other.next(old)
	other.inForce()
}

// What is not on disk does not count: a restart would go back.
func TestKeysThatCannotBeKeptDoNotCount(t *testing.T) {
	r := newRooted(t)
	fresh := keyOf("k2", 2)
	r.client = run(t, r.o)
	r.inForce()
	r.m.mu.Lock()
	r.m.noKeys = errors.New("disk is full")
	r.m.mu.Unlock()
	r.keys(keySet(t, 1, public(fresh), public()))
	until(t, "the list is said to be incomplete", func() bool { return r.client.State().List.State == "incomplete" })
	r.next(fresh)
	r.refused("a head by the new key is refused", `"k2"`)
	if n := r.client.State().List.Keys; n != 0 {
		t.Errorf("got key set %d in force, want none", n)
	}
}

func TestAClearedTopicOfKeysTakesNothingBack(t *testing.T) {
	r := newRooted(t)
	fresh := keyOf("k2", 2)
	r.keys(keySet(t, 1, public(fresh), public()))
	r.client = run(t, r.o)
	until(t, "the keys are in force", func() bool { return r.client.State().List.Keys == 1 })
	r.keys(nil)
	r.next(fresh)
	r.inForce()
}

func TestARootReplacesTheCommandKeys(t *testing.T) {
	list, _ := keys()
	fresh := keyOf("c2", 4)
	c := newCommander(t, func(o *uplink.Opts) {
		m := newMemory()
		o.Roots, o.KeyStore = public(root), m
	})
	publish(t, c.Conn, uplink.ListTopics("desk").Keys(), keySet(t, 1, public(list), public(fresh)))
	until(t, "the keys are in force", func() bool { return c.client.State().List.Keys == 1 })
	if r := c.ask(c.sign(c.good()), false); r.OK || r.Reason != "WrongSignature" {
		t.Errorf("by the old key: got %+v, want WrongSignature", r)
	}
	c.key = fresh
	if r := c.ask(c.sign(c.good()), false); !r.OK {
		t.Errorf("by the new key: got %+v, want it done", r)
	}
}

// A gateway that was set up to take no commands takes none by a root's word either.
func TestARootMakesNobodyObey(t *testing.T) {
	list, _ := keys()
	c := newCommander(t, func(o *uplink.Opts) {
		m := newMemory()
		o.Roots, o.KeyStore, o.Commands = public(root), m, uplink.Commands{}
	})
	publish(t, c.Conn, uplink.ListTopics("desk").Keys(), keySet(t, 1, public(list), public(c.key)))
	until(t, "the keys are in force", func() bool { return c.client.State().List.Keys == 1 })
	if r := c.ask(c.sign(c.good()), false); r.OK || r.Reason != "NoCommandKeys" {
		t.Errorf("got %+v, want NoCommandKeys", r)
	}
}

func FuzzKeySet(f *testing.F) {
	list, _ := keys()
	f.Add(keySet(f, 1, public(list), public()))
	f.Add(forgeBy(root, keysHeader, "{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := uplink.ParseKeySet(b, public(root), "desk"); err == nil && (k.List != "desk" || k.Sequence == 0 || len(k.ListKeys.Keys) == 0) {
			t.Errorf("accepted %+v", k)
		}
	})
}
