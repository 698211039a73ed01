package backend_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/gowebpki/jcs"

	"badged/cache"
	"badged/session"
	"badged/uplink"
)

var update = flag.Bool("update", false, "write docs/vectors anew, with another ledger")

const docs = "../../../docs/"

// listVector is docs/vectors/list.json: a list of two versions on its way.
type listVector struct {
	Key         jose.JSONWebKey    `json:"key"` // private: for tests only
	Keys        jose.JSONWebKeySet `json:"keys"`
	List        string             `json:"list"`
	Epoch       uint64             `json:"epoch"`
	FirstDigest session.Digest     `json:"firstDigest"` // of version 0
	Deltas      []pieceVector      `json:"deltas"`
	Index       pieceVector        `json:"index"`
	Chunks      []pieceVector      `json:"chunks"`
	Head        string             `json:"head"` // the message
	Root        jose.JSONWebKey    `json:"root"` // private: for tests only
	Roots       jose.JSONWebKeySet `json:"roots"`
	KeySet      uplink.KeySet      `json:"keySet"`
	KeySetJWS   string             `json:"keySetMessage"`
	Refused     map[string]string  `json:"refused"` // messages for the topics head and keys that a gateway refuses, by why
}

// pieceVector is a payload as it is sent.
type pieceVector struct {
	Topic   string         `json:"topic"`
	Payload []byte         `json:"payload"` // base64
	SHA256  session.Digest `json:"sha256"`
	Digest  session.Digest `json:"digest,omitzero"` // of the list after this delta
}

// commandVector is docs/vectors/command.json.
type commandVector struct {
	Keys    jose.JSONWebKeySet `json:"keys"`
	Command uplink.Command     `json:"command"`
	Message string             `json:"message"` // the JWS
	Reply   uplink.Reply       `json:"reply"`
}

func readVector(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(docs + "vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestListVector(t *testing.T) {
	var v listVector
	readVector(t, "list.json", &v)
	digest := uplink.FirstDigest(v.List, v.Epoch)
	if digest != v.FirstDigest {
		t.Errorf("digest 0: got %s, want %s", digest, v.FirstDigest)
	}
	for i, d := range v.Deltas {
		n := uint64(i + 1)
		digest = uplink.NextDigest(digest, n, d.Payload)
		if sha256.Sum256(d.Payload) != d.SHA256 || digest != d.Digest || d.Topic != uplink.ListTopics(v.List).Delta(n) {
			t.Errorf("delta %d: got digest %s, want %s", n, digest, d.Digest)
		}
		if got, err := uplink.DecodeDelta(d.Payload); err != nil || got.Version != n {
			t.Errorf("delta %d: got %+v, %v", n, got, err)
		}
	}
	h, err := uplink.ParseHead([]byte(v.Head), v.Keys, v.List)
	if err != nil || h.Digest != digest || h.Snapshot.Index != sha256.Sum256(v.Index.Payload) || h.Version != uint64(len(v.Deltas)) {
		t.Fatalf("head: got %+v, %v, want digest %s", h, err, digest)
	}
	again, err := uplink.SignHead(h, v.Key)
	if err != nil || string(again) != v.Head {
		t.Errorf("signed again: got %s, %v, want the same: Ed25519 has no randomness", again, err)
	}
	x, err := uplink.DecodeIndex(v.Index.Payload)
	if err != nil || len(x.Chunks) != len(v.Chunks) || x.Count != h.Count {
		t.Fatalf("index: got %+v, %v", x, err)
	}
	n := 0
	for i, c := range v.Chunks {
		got, err := uplink.DecodeChunk(c.Payload)
		if n += len(got.Put); err != nil || x.Chunks[i] != sha256.Sum256(c.Payload) {
			t.Errorf("chunk %d: got hash %x, %v, want %s", i, sha256.Sum256(c.Payload), err, x.Chunks[i])
		}
	}
	if n != h.Count {
		t.Errorf("chunks: got %d badges, want %d", n, h.Count)
	}
	set, err := uplink.ParseKeySet([]byte(v.KeySetJWS), v.Roots, v.List)
	if err != nil || set.Sequence != v.KeySet.Sequence || len(set.ListKeys.Keys) != 1 || set.ListKeys.Keys[0].KeyID != v.Key.KeyID {
		t.Fatalf("key set: got %+v, %v", set, err)
	}
	if again, err := uplink.SignKeySet(set, v.Root); err != nil || string(again) != v.KeySetJWS {
		t.Errorf("key set signed again: got %s, %v, want the same", again, err)
	}
	for why, message := range v.Refused {
		_, headErr := uplink.ParseHead([]byte(message), v.Keys, v.List)
		_, setErr := uplink.ParseKeySet([]byte(message), v.Roots, v.List)
		if headErr == nil || setErr == nil {
			t.Errorf("%s: got no error, want one", why)
		}
	}
}

func TestCommandVector(t *testing.T) {
	var v commandVector
	readVector(t, "command.json", &v)
	o, err := jose.ParseSignedCompact(v.Message, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	b, err := o.Verify(v.Keys.Keys[0])
	want, _ := json.Marshal(v.Command) // compact, as it is signed
	if err != nil || string(b) != string(want) {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	if typ := o.Signatures[0].Header.ExtraHeaders["typ"]; typ != "badged-command" {
		t.Errorf("typ: got %v", typ)
	}
	if got := uplink.MessageID([]byte(v.Message)); got != v.Reply.Message || v.Reply.ID != v.Command.ID {
		t.Errorf("reply: got message %s, want %s", got, v.Reply.Message)
	}
}

func TestLedgerVector(t *testing.T) {
	b, err := os.ReadFile(docs + "vectors/ledger.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	prev := strings.Repeat("0", 64)
	for i, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		var m struct {
			V, Seq int
			Hash   string
			Record json.RawMessage
		}
		var r struct{ Prev string }
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		canonical, err := jcs.Transform(m.Record)
		if err != nil || json.Unmarshal(canonical, &r) != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(canonical)
		if m.V != 1 || m.Seq != i+1 || r.Prev != prev || hex.EncodeToString(sum[:]) != m.Hash {
			t.Errorf("line %d: got hash %x after %s, want %s after %s", i+1, sum, r.Prev, m.Hash, prev)
		}
		prev = m.Hash
	}
}

// ledger makes a real ledger of three records and gives their messages, a line each.
func ledger(t *testing.T) []byte {
	t.Helper()
	at := session.Stamp{BootID: "0f3c", Up: 90 * time.Second, Wall: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), Clock: session.ClockSynced}
	l, err := cache.OpenLedger(filepath.Join(t.TempDir(), "ledger.db"), cache.LedgerOpts{Gateway: "gw-1", Stamp: func() session.Stamp { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	started := session.TransactionEvent{EventType: session.Started, TransactionID: "6f1e", TriggerReason: session.TriggerAuthorized,
		Station: "washer", Kind: session.Laundry, Account: "Zoë <r&d> \"7\"\u2028\x01/\U0001F9FA", UID: "00ff", List: session.ListPoint{Epoch: 1, Version: 2}, MeterStart: 1200, MeterValue: 1200, At: at}
	ended := started
	ended.EventType, ended.SeqNo, ended.TriggerReason, ended.StoppedReason = session.Ended, 1, session.TriggerChargingState, session.StoppedOther
	ended.MeterValue, ended.Energy, ended.Seconds, ended.At.Up = 1950, 750, 3600, 3690*time.Second
	err = l.Commit(t.Context(), session.Commit{Records: []session.Record{started, session.ClockAnchor{At: at, Source: "kernel", Why: "first"}, ended}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := l.Unsent(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, m := range messages {
		b.Write(append(uplink.EventMessage(m), '\n'))
	}
	return b.Bytes()
}

func TestAnybodyCanCheckTheChain(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine")
	}
	whole := ledger(t)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	vector, err := os.ReadFile(docs + "vectors/ledger.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		ledger []byte
		says   string
	}{
		{"the vector", vector, "4 records, whole"},
		{"a real ledger", whole, "4 records, whole"},
		{"repeats, out of order", bytes.Join([][]byte{lines[2], lines[0], lines[3], lines[1], lines[2]}, nil), "4 records, whole"},
		{"a record taken out", bytes.Join([][]byte{lines[0], lines[1], lines[3]}, nil), "record 3 is missing"},
		{"a changed amount", bytes.Replace(whole, []byte(`"energy":750`), []byte(`"energy":75`), 1), "record 4 is not"},
		{"another account", bytes.Replace(whole, []byte("Zoë"), []byte("Zoé"), 1), "record 2 is not"},
	} {
		path := filepath.Join(t.TempDir(), "ledger.jsonl")
		if err := os.WriteFile(path, c.ledger, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.CommandContext(t.Context(), python, docs+"check-ledger.py", path).CombinedOutput()
		if !strings.Contains(string(out), c.says) {
			t.Errorf("%s: got %s, want %q", c.what, out, c.says)
		}
	}
}

// TestMakeVectors writes the vectors with -update, and is nothing without.
func TestMakeVectors(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	save := func(name string, v any) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(docs+"vectors/"+name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed([]byte("badged test vector: never use it")), KeyID: "test", Algorithm: "EdDSA", Use: "sig"}
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}
	save("list.json", makeList(t, key, keys))
	c := uplink.Command{ID: "c-0001", Gateway: "gw-1", Nonce: "M4XK2QJ7", ExpiresAt: time.Date(2026, 7, 1, 12, 1, 0, 0, time.UTC), Command: "stop", Args: []byte(`{"station":"washer"}`)}
	message, err := uplink.SignCommand(c, key)
	if err != nil {
		t.Fatal(err)
	}
	save("command.json", commandVector{keys, c, string(message), uplink.Reply{ID: c.ID, Message: uplink.MessageID(message), OK: true, Status: "Accepted"}})
	if err := os.WriteFile(docs+"vectors/ledger.jsonl", ledger(t), 0o644); err != nil {
		t.Fatal(err)
	}
}

func makeList(t *testing.T, key jose.JSONWebKey, keys jose.JSONWebKeySet) listVector {
	t.Helper()
	piece := func(topic string, v any) pieceVector {
		b, err := uplink.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return pieceVector{Topic: topic, Payload: b, SHA256: sha256.Sum256(b)}
	}
	v := listVector{Key: key, Keys: keys, List: "via-roma-12", Epoch: 1, FirstDigest: uplink.FirstDigest("via-roma-12", 1)}
	topics, digest := uplink.ListTopics(v.List), v.FirstDigest
	anna := session.Entry{UID: "04A1B2C3", Status: session.Accepted, Account: "r-1042", Services: []session.Service{session.Laundry}, Language: "it"}
	bruno := session.Entry{UID: "044494C0228B80", Status: session.Accepted, Account: "r-7", Origin: session.ThirdParty}
	lost := bruno
	lost.Status = session.Blocked
	for i, d := range []session.Delta{{Put: []session.Entry{anna, bruno}}, {Put: []session.Entry{lost}}} {
		p := piece(topics.Delta(uint64(i+1)), uplink.Delta{List: v.List, Epoch: 1, Version: uint64(i + 1), Delta: d})
		digest = uplink.NextDigest(digest, uint64(i+1), p.Payload)
		p.Digest = digest
		v.Deltas = append(v.Deltas, p)
	}
	v.Chunks = []pieceVector{piece(topics.Chunk(2, 0), uplink.Chunk{Put: []session.Entry{lost}}), piece(topics.Chunk(2, 1), uplink.Chunk{Put: []session.Entry{anna}})}
	v.Index = piece(topics.Index(2), uplink.Index{List: v.List, Epoch: 1, Version: 2, Count: 2, Chunks: []session.Digest{v.Chunks[0].SHA256, v.Chunks[1].SHA256}})
	head, err := uplink.SignHead(uplink.Head{List: v.List, Epoch: 1, Version: 2, Digest: digest, Count: 2, DeltasFrom: 0,
		Snapshot: uplink.Snapshot{Version: 2, Digest: digest, Index: v.Index.SHA256}, IssuedAt: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}, key)
	if err != nil {
		t.Fatal(err)
	}
	v.Head = string(head)
	root := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed([]byte("badged test root: never use it !")), KeyID: "root", Algorithm: "EdDSA", Use: "sig"}
	v.Root, v.Roots = root, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{root.Public()}}
	v.KeySet = uplink.KeySet{List: v.List, Sequence: 1, IssuedAt: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), ListKeys: keys, CommandKeys: keys}
	set, err := uplink.SignKeySet(v.KeySet, root)
	if err != nil {
		t.Fatal(err)
	}
	v.KeySetJWS = string(set)
	v.Refused = forgeries(t, v.Head, v.KeySetJWS, key, root)
	return v
}

// forgeries are messages that look right and are not.
func forgeries(t *testing.T, head, set string, key, root jose.JSONWebKey) map[string]string {
	t.Helper()
	signed := func(k jose.JSONWebKey, header, jws string) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + strings.Split(jws, ".")[1]
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.Key.(ed25519.PrivateKey), []byte(text)))
	}
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"a head with alg none":                            signed(key, `{"alg":"none","kid":"test","typ":"badged-head"}`, head),
		"a head with the typ of a command":                signed(key, `{"alg":"EdDSA","kid":"test","typ":"badged-command"}`, head),
		"a head that brings its key along":                signed(key, `{"alg":"EdDSA","jwk":`+string(public)+`,"typ":"badged-head"}`, head),
		"a head by the root":                              signed(root, `{"alg":"EdDSA","kid":"root","typ":"badged-head"}`, head),
		"a key set by the list key":                       signed(key, `{"alg":"EdDSA","kid":"test","typ":"badged-keys"}`, set),
		"a key set by the list key, under the root's kid": signed(key, `{"alg":"EdDSA","kid":"root","typ":"badged-keys"}`, set),
	}
}
