package uplink_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
	"badged/uplink"
)

// forge signs any payload under any header, with the pinned key.
func forge(t testing.TB, header, payload string) []byte {
	t.Helper()
	key, _ := keys()
	return forgeBy(key, header, payload)
}

func forgeBy(key jose.JSONWebKey, header, payload string) []byte {
	enc := base64.RawURLEncoding.EncodeToString
	input := enc([]byte(header)) + "." + enc([]byte(payload)) // RFC 7515, 5.1
	return []byte(input + "." + enc(ed25519.Sign(key.Key.(ed25519.PrivateKey), []byte(input))))
}

const goodHeader = `{"alg":"EdDSA","kid":"k1","typ":"badged-head"}`

func goodPayload(t testing.TB, change func(map[string]any)) string {
	t.Helper()
	b, err := json.Marshal(filled(3, 2).head())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHeadComesBackAsSigned(t *testing.T) {
	_, pinned := keys()
	b := filled(3, 2)
	got, err := uplink.ParseHead(b.signed(t), pinned, "desk")
	if err != nil || got != b.head() {
		t.Errorf("got %+v, %v, want %+v", got, err, b.head())
	}
}

func TestT11_HeadersOfAHead(t *testing.T) {
	_, pinned := keys()
	payload := goodPayload(t, func(map[string]any) {})
	for name, c := range map[string]struct {
		header string
		ok     bool
	}{
		"as it should be":     {goodHeader, true},
		"alg none":            {`{"alg":"none","kid":"k1","typ":"badged-head"}`, false},
		"alg HS256":           {`{"alg":"HS256","kid":"k1","typ":"badged-head"}`, false},
		"alg Ed25519":         {`{"alg":"Ed25519","kid":"k1","typ":"badged-head"}`, false},
		"no typ":              {`{"alg":"EdDSA","kid":"k1"}`, false},
		"typ of a command":    {`{"alg":"EdDSA","kid":"k1","typ":"badged-command"}`, false},
		"no kid":              {`{"alg":"EdDSA","typ":"badged-head"}`, true},
		"harmless additions":  {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","cty":"json","iat":1}`, true},
		"kid is empty":        {`{"alg":"EdDSA","kid":"","typ":"badged-head"}`, false},
		"certificate's hash":  {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","x5t#S256":"x"}`, false},
		"unencoded payload":   {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","b64":false}`, false},
		"unknown kid":         {`{"alg":"EdDSA","kid":"k2","typ":"badged-head"}`, false},
		"key in the header":   {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","jwk":{"kty":"OKP"}}`, false},
		"address of a key":    {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","jku":"https://evil"}`, false},
		"certificate":         {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","x5c":[]}`, false},
		"critical extensions": {`{"alg":"EdDSA","kid":"k1","typ":"badged-head","crit":["b64"],"b64":false}`, false},
		"alg twice":           {`{"alg":"none","alg":"EdDSA","kid":"k1","typ":"badged-head"}`, false},
		"kid is a number":     {`{"alg":"EdDSA","kid":1,"typ":"badged-head"}`, false},
		"no object":           {`[]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := uplink.ParseHead(forge(t, c.header, payload), pinned, "desk")
			if (err == nil) != c.ok {
				t.Errorf("got %v, want accepted: %t", err, c.ok)
			}
		})
	}
}

func TestWithoutAKeyIDEveryPinnedKeyIsTried(t *testing.T) {
	_, pinned := keys()
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)).Public()
	payload := goodPayload(t, func(map[string]any) {})
	message := forge(t, `{"alg":"EdDSA","typ":"badged-head"}`, payload)
	both := jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{{Key: other, KeyID: "k0"}}, pinned.Keys...)}
	if _, err := uplink.ParseHead(message, both, "desk"); err != nil {
		t.Errorf("second of two keys: got %v, want nil", err)
	}
	both.Keys = both.Keys[:1]
	if _, err := uplink.ParseHead(message, both, "desk"); err == nil {
		t.Error("key not pinned: got no error, want one")
	}
}

func TestT11_PayloadsOfAHead(t *testing.T) {
	_, pinned := keys()
	set := func(name string, v any) func(map[string]any) { return func(m map[string]any) { m[name] = v } }
	for name, c := range map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"unchanged":               {func(map[string]any) {}, true},
		"an unknown member":       {set("later", 1), true},
		"no count":                {func(m map[string]any) { delete(m, "count") }, false},
		"no deltasFrom":           {func(m map[string]any) { delete(m, "deltasFrom") }, false},
		"no digest":               {func(m map[string]any) { delete(m, "digest") }, false},
		"epoch is null":           {set("epoch", nil), false},
		"no index":                {func(m map[string]any) { delete(m["snapshot"].(map[string]any), "index") }, false},
		"another list":            {set("list", "other"), false},
		"version 0":               {set("version", 0), false},
		"version of 2^53":         {set("version", 1<<53), false},
		"version with a fraction": {set("version", 1.5), false},
		"version is text":         {set("version", "1"), false},
		"count is negative":       {set("count", -1), false},
		"count beyond all lists":  {set("count", 2_000_001), false},
		"deltas after snapshot":   {set("deltasFrom", 2), false},
		"snapshot after version":  {set("snapshot", map[string]any{"version": 2, "digest": strings.Repeat("0", 64), "index": strings.Repeat("0", 64)}), false},
		"digest too short":        {set("digest", "00"), false},
		"digest is no hex":        {set("digest", strings.Repeat("x", 64)), false},
		"issuedAt is no time":     {set("issuedAt", "yesterday"), false},
		"more than 2 KiB":         {set("later", strings.Repeat("x", 2048)), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := uplink.ParseHead(forge(t, goodHeader, goodPayload(t, c.change)), pinned, "desk")
			if (err == nil) != c.ok {
				t.Errorf("got %v, want accepted: %t", err, c.ok)
			}
		})
	}
}

// zip makes a payload of any text.
func zip(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.Bytes()
}

func TestT11_Deltas(t *testing.T) {
	const head = `{"list":"desk","epoch":1,"version":2,`
	many := func(n int, format string) string {
		s := make([]string, n)
		for i := range s {
			s[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(s, ",")
	}
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"nothing":                 {head + `"put":[],"remove":[]}`, true},
		"an entry":                {head + `"put":[{"uid":"04A1B2C3","status":"Accepted"}]}`, true},
		"an unknown field":        {head + `"put":[{"uid":"04A1B2C3","status":"Accepted","colour":{"a":[1]}}]}`, true},
		"a service of tomorrow":   {head + `"put":[{"uid":"04A1B2C3","status":"Accepted","services":["parking"]}]}`, true},
		"10000 removed":           {head + `"remove":[` + many(10_000, `"%08X"`) + `]}`, true},
		"10001 removed":           {head + `"remove":[` + many(10_001, `"%08X"`) + `]}`, false},
		"an unknown status":       {head + `"put":[{"uid":"04A1B2C3","status":"Fine"}]}`, false},
		"no status":               {head + `"put":[{"uid":"04A1B2C3"}]}`, false},
		"an unknown role":         {head + `"put":[{"uid":"04A1B2C3","status":"Accepted","role":"king"}]}`, false},
		"lower-case uid":          {head + `"put":[{"uid":"04a1b2c3","status":"Accepted"}]}`, false},
		"uid of 5 bytes":          {head + `"put":[{"uid":"04A1B2C3D4","status":"Accepted"}]}`, false},
		"uid put twice":           {head + `"put":[{"uid":"04A1B2C3","status":"Accepted"},{"uid":"04A1B2C3","status":"Blocked"}]}`, false},
		"uid put and removed":     {head + `"put":[{"uid":"04A1B2C3","status":"Accepted"}],"remove":["04A1B2C3"]}`, false},
		"a member twice":          {head + `"put":[],"put":[]}`, false},
		"a member twice, by case": {head + `"put":[],"PUT":[]}`, false},
		"a status twice":          {head + `"put":[{"uid":"04A1B2C3","status":"Blocked","\u017ftatus":"Accepted"}]}`, false},
		"deep nesting":            {head + `"later":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, false},
		"invalid UTF-8":           {head + "\"later\":\"\xff\"}", false},
		"something after it":      {head + `"put":[]} {}`, false},
		"no version":              {`{"list":"desk","epoch":1,"put":[]}`, false},
		"put is no list":          {head + `"put":{}}`, false},
		"a time that is none":     {head + `"put":[{"uid":"04A1B2C3","status":"Accepted","validFrom":"soon"}]}`, false},
		"no JSON":                 {"badges", false},
		"nothing at all":          {"", false},
		"a bomb":                  {head + `"later":"` + strings.Repeat(" ", 20<<20) + `"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := uplink.DecodeDelta(zip(c.in)); (err == nil) != c.ok {
				t.Errorf("got %v, want accepted: %t", err, c.ok)
			}
		})
	}
}

func TestT11_WhatIsNoGzip(t *testing.T) {
	whole := zip(`{"put":[]}`)
	for name, b := range map[string][]byte{"nothing": nil, "text": []byte(`{"put":[]}`), "cut short": whole[:len(whole)-4],
		"1 MiB": make([]byte, 1<<20), "wrong checksum": append(bytes.Clone(whole[:len(whole)-8]), 0, 0, 0, 0, 0, 0, 0, 0)} {
		if _, err := uplink.DecodeChunk(b); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	if _, err := uplink.DecodeChunk(whole); err != nil {
		t.Errorf("whole: got %v, want nil", err)
	}
}

func TestTheDigestOfTheContract(t *testing.T) {
	first := uplink.FirstDigest("desk", 1)
	const want = "35c5f04e86443404" // printf 'badged-list-1\ndesk\n1' | sha256sum
	if got := first.String(); got[:16] != want {
		t.Errorf("digest 0: got %s, want %s…", got, want)
	}
}

func FuzzHead(f *testing.F) {
	_, pinned := keys()
	f.Add(filled(3, 2).signed(f))
	f.Add(forge(f, goodHeader, "{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := uplink.ParseHead(b, pinned, "desk")
		if err == nil && (h.List != "desk" || h.Snapshot.Version > h.Version) {
			t.Errorf("accepted %+v", h)
		}
	})
}

// FuzzPayloads reads each input as JSON and as gzip, as each kind of message.
func FuzzPayloads(f *testing.F) {
	b := filled(3, 2)
	for _, p := range b.messages(f) {
		f.Add(p)
	}
	f.Add([]byte(`{"list":"desk","epoch":1,"version":2,"put":[{"uid":"04A1B2C3","status":"Accepted"}],"remove":["04A1B2C4"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range [][]byte{b, zip(string(b))} {
			if d, err := uplink.DecodeDelta(p); err == nil {
				checkEntries(t, d.Put)
			}
			if c, err := uplink.DecodeChunk(p); err == nil {
				checkEntries(t, c.Put)
			}
			_, _ = uplink.DecodeIndex(p)
		}
	})
}

func checkEntries(t *testing.T, entries []session.Entry) {
	seen := map[session.IDToken]bool{}
	for _, e := range entries {
		if err := uplink.CheckEntry(e); err != nil || seen[e.UID] {
			t.Errorf("accepted %+v (%v, twice: %t)", e, err, seen[e.UID])
		}
		seen[e.UID] = true
	}
}
