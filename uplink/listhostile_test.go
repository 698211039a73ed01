package uplink_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

// kinds are the messages of a list that a head leads to.
var kinds = []string{"delta", "index", "chunk"}

// withPiece is a version after the book's whose message of a kind is the payload.
// It hashes right: a publisher with the key made it.
func withPiece(b *book, kind string, payload []byte) {
	n := b.version() + 1
	if kind == "delta" {
		b.deltas[n] = payload
		b.digests = append(b.digests, uplink.NextDigest(b.digests[n-1], n, payload))
		b.issued = b.issued.Add(time.Second)
		return
	}
	b.push(entry(uid(50), session.Accepted))
	b.snapshot(4)
	index, chunk := b.topics.Index(n), b.topics.Chunk(n, 1)
	if kind == "chunk" {
		x, err := uplink.DecodeIndex(b.pieces[index])
		if err != nil {
			panic(err)
		}
		b.pieces[chunk], x.Chunks[1] = payload, sha256.Sum256(payload)
		if payload, err = uplink.Encode(x); err != nil {
			panic(err)
		}
	}
	b.pieces[index], b.whole.Index = payload, sha256.Sum256(payload)
}

// nonsense are payloads that no publisher should make.
func nonsense() map[string][]byte {
	nested := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	return map[string][]byte{
		"one byte":       {0},
		"no gzip":        []byte(`{"put":[]}`),
		"1 MiB":          make([]byte, 1<<20),
		"cut short":      zip(`{"put":[]}`)[:12],
		"empty gzip":     zip(""),
		"null":           zip("null"),
		"no object":      zip("[]"),
		"gzip bomb":      zip(strings.Repeat(" ", 32<<20)),
		"bomb of arrays": zip(strings.Repeat("[", 1<<20)),
		"deep nesting":   zip(nested),
		"invalid UTF-8":  zip("{\"list\":\"desk\xff\",\"put\":[]}"),
		"members twice":  zip(`{"list":"desk","list":"desk","epoch":1,"version":2,"count":1,"chunks":[],"put":[]}`),
		"wrong types":    zip(`{"list":7,"epoch":"1","version":[],"count":{},"chunks":"x","put":"y"}`),
		"numbers beyond": zip(`{"list":"desk","epoch":1e400,"version":2,"count":1,"chunks":[],"put":[]}`),
		"wrong UID":      zip(`{"list":"desk","epoch":1,"version":2,"count":-1,"chunks":["00"],"put":[{"uid":"zz","status":"Accepted"}]}`),
		"badge twice":    zip(`{"list":"desk","epoch":1,"version":2,"count":-1,"chunks":[7],"put":[{"uid":"04A1B2C3","status":"Accepted"},{"uid":"04A1B2C3","status":"Accepted"}]}`),
		"a cut head":     []byte("eyJhbGciOiJub25lIn0.e30."),
	}
}

// Whatever a message of a list holds, with the right hash or a wrong one: it is
// refused before harm, counted and reported, the list in force stays, and the next
// version comes.
func TestHostileMessages(t *testing.T) {
	for _, kind := range kinds {
		for name, payload := range nonsense() {
			for _, hashes := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, hash right %t", kind, name, hashes), func(t *testing.T) {
					a, b := settled(t)
					before, entries := a.memory.inForce()
					good := bookAfter(b)
					if hashes {
						withPiece(b, kind, payload)
						a.put(b)
					} else {
						a.putSpoiled(b, kind, payload)
					}
					a.pass(5 * time.Minute)
					if v, got := a.memory.inForce(); v != before || !reflect.DeepEqual(got, entries) {
						t.Errorf("got %+v, want the list from before", v)
					}
					s := a.sync.State()
					told := slices.ContainsFunc(a.events, func(e uplink.ListEvent) bool { return e.Reason != nil })
					if s.Refused == 0 || s.Last == "" || !told {
						t.Errorf("got %d refusals, %q, reported %t, want it counted and told", s.Refused, s.Last, told)
					}
					a.put(good)
					a.pass(5 * time.Minute)
					a.want(good)
				})
			}
		}
	}
}

// copyOf is a book that goes its own way from here.
func copyOf(b *book) *book {
	c := *b
	c.entries, c.deltas, c.digests, c.pieces = maps.Clone(b.entries), maps.Clone(b.deltas), slices.Clone(b.digests), maps.Clone(b.pieces)
	return &c
}

// bookAfter is a copy of the book that has gone further by a snapshot.
func bookAfter(b *book) *book {
	c := copyOf(b)
	for n := range 3 {
		c.push(entry(uid(60+n), session.Blocked))
	}
	c.snapshot(3)
	return c
}

// putSpoiled puts a next version on a broker that has the payload in the place of
// one of its messages.
func (a *air) putSpoiled(b *book, kind string, payload []byte) {
	n := b.version() + 1
	b.push(entry(uid(50), session.Accepted))
	topic := b.topics.Delta(n)
	if kind != "delta" {
		b.snapshot(4)
		topic = map[string]string{"index": b.topics.Index(n), "chunk": b.topics.Chunk(n, 1)}[kind]
	}
	topics, all := a.pieces(b)
	all[topic] = payload
	for _, topic := range topics {
		a.publish(topic, all[topic])
	}
}

// Somebody who may write to the broker and has no key sends pieces that are right in
// everything but their hash: list, version, counts.
func TestForgedPieces(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			a, b := settled(t)
			before, entries := a.memory.inForce()
			forged := copyOf(b)
			n := b.version() + 1
			b.push(entry(uid(50), session.Accepted))
			forged.push(entry(uid(51), session.Accepted))
			spoilt := []string{b.topics.Delta(n)}
			if kind != "delta" {
				b.snapshot(4)
				forged.snapshot(4)
				spoilt = slices.DeleteFunc(slices.Collect(maps.Keys(forged.pieces)), func(topic string) bool {
					return kind == "chunk" && topic == b.topics.Index(n)
				})
			}
			_, all := a.pieces(b)
			_, theirs := a.pieces(forged)
			for topic, payload := range all {
				if slices.Contains(spoilt, topic) {
					payload = theirs[topic]
				}
				if topic != b.topics.Head() {
					a.publish(topic, payload)
				}
			}
			a.publish(b.topics.Head(), b.signed(t))
			a.pass(5 * time.Minute)
			if v, got := a.memory.inForce(); v != before || !reflect.DeepEqual(got, entries) {
				t.Errorf("got %+v with %v, want the list from before", v, got)
			}
			if s := a.sync.State(); s.Refused == 0 || s.State == "current" {
				t.Errorf("got %+v, want it refused", s)
			}
			a.put(b)
			a.pass(2 * time.Hour) // it tries again within one
			a.want(b)
		})
	}
}

// A head that nobody signed, or that says nonsense, is counted, reported once,
// and changes nothing.
func TestHostileHeads(t *testing.T) {
	good := goodPayload(t, func(m map[string]any) { m["version"] = 9 })
	heads := map[string][]byte{
		"alg none":         forge(t, `{"alg":"none","typ":"badged-head"}`, good),
		"alg none, bare":   []byte("eyJhbGciOiJub25lIiwidHlwIjoiYmFkZ2VkLWhlYWQifQ." + strings.Split(string(forge(t, goodHeader, good)), ".")[1] + "."),
		"another typ":      forge(t, `{"alg":"EdDSA","kid":"k1","typ":"badged-command"}`, good),
		"jwk in it":        forge(t, `{"alg":"EdDSA","kid":"k1","typ":"badged-head","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`, good),
		"no JSON":          forge(t, goodHeader, "hello"),
		"nested":           forge(t, goodHeader, strings.Repeat("[", 500)+strings.Repeat("]", 500)),
		"members twice":    forge(t, goodHeader, `{"list":"desk",`+good[1:]),
		"invalid UTF-8":    forge(t, goodHeader, "{\"list\":\"\xff\"}"),
		"another JWS form": []byte(`{"payload":"e30","signatures":[]}`),
		"JWE":              []byte("e30.e30.e30.e30.e30"),
		"2 KiB of dots":    []byte(strings.Repeat(".", 2048)),
	}
	for name, payload := range nonsense() {
		heads[name] = payload
		heads[name+", signed"] = forge(t, goodHeader, string(payload))
	}
	for name, message := range heads {
		t.Run(name, func(t *testing.T) {
			a, b := settled(t)
			before, _ := a.memory.inForce()
			told := len(a.events)
			for range 3 {
				a.publish(b.topics.Head(), message)
				a.pass(time.Second)
			}
			if v, _ := a.memory.inForce(); v != before || a.sync.State().State != "current" {
				t.Errorf("got %+v, %+v, want the list from before", v, a.sync.State())
			}
			if s := a.sync.State(); s.Refused < 3 || len(a.events) != told+1 || a.events[told].Kind != uplink.ListRefused {
				t.Errorf("got %d refusals, %d events, want each counted and one reported", s.Refused, len(a.events)-told)
			}
			if a.memory.highest.Version != before.Version {
				t.Errorf("highest head: got %d, want %d", a.memory.highest.Version, before.Version)
			}
		})
	}
}

// FuzzListMessages lets a publisher with the key send anything as a delta, an
// index or a chunk, gzipped or not: the list in force is the one from before or,
// if it was accepted, one that holds only what an entry may be.
func FuzzListMessages(f *testing.F) {
	b := filled(10, 4)
	f.Add(uint8(0), true, []byte(`{"list":"desk","epoch":1,"version":2,"put":[{"uid":"04A1B2C3","status":"Blocked"}],"remove":["00000001"]}`))
	f.Add(uint8(1), true, []byte(`{"list":"desk","epoch":1,"version":2,"count":0,"chunks":[]}`))
	f.Add(uint8(2), true, []byte(`{"put":[{"uid":"04A1B2C3","status":"Accepted","stations":["s"],"validUntil":"2030-01-01T00:00:00Z"}]}`))
	for n, p := range b.messages(f) {
		f.Add(uint8(len(n)), false, p)
	}
	for _, p := range nonsense() {
		if len(p) < 1<<12 { // what is longer takes the fuzzer's time to shorten it
			f.Add(uint8(len(p)), false, p)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, zipped bool, payload []byte) {
		a, b := newAir(&testing.T{}), filled(10, 4)
		a.put(b)
		a.pass(0)
		before, _ := a.memory.inForce()
		if zipped {
			payload = zip(string(payload))
		}
		if len(payload) == 0 {
			return
		}
		withPiece(b, kinds[int(kind)%len(kinds)], payload)
		if len(b.entries) == 0 {
			return
		}
		a.put(b)
		a.pass(2 * time.Minute)
		v, entries := a.memory.inForce()
		if v == before {
			return
		}
		var all []session.Entry
		for uid, e := range entries {
			if e.UID != uid {
				t.Errorf("badge %s stands under %s", e.UID, uid)
			}
			all = append(all, e)
		}
		if checkEntries(t, all); v.Version != 2 || v.Count != len(all) {
			text, _ := json.Marshal(v)
			t.Errorf("got %d entries as %s, want them counted", len(all), text)
		}
	})
}
