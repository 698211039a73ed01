package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"badged/session"
)

// uidForm is how records carry UIDs: as they are, or as the first 16 bytes of
// their HMAC-SHA256 under the site's key, in hex. The key keeps UIDs out of
// logs, dumps and bundles; whoever has it can try all UIDs.
func (g *gateway) uidForm() (func(session.IDToken) string, error) {
	if g.cfg.PlainUID {
		return func(t session.IDToken) string { return string(t) }, nil
	}
	key, err := g.siteKey()
	if err != nil {
		return nil, fmt.Errorf("site key: %w", err)
	}
	return func(t session.IDToken) string {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(t))
		return hex.EncodeToString(m.Sum(nil)[:16])
	}, nil
}

const siteKeyBytes = 32

// siteKey reads the key that the config names. Without one it makes a key of
// this gateway alone: records then tell badges apart, and only their account
// says whose they are.
func (g *gateway) siteKey() ([]byte, error) {
	path, own := g.cfg.SiteKey, g.cfg.SiteKey == ""
	if own {
		path = filepath.Join(g.cfg.State, "site.key")
	}
	key, err := readSiteKey(path)
	if own && errors.Is(err, fs.ErrNotExist) {
		g.log.Warn("no site key in the config: the backend cannot resolve the UIDs in records, only their accounts", "made", path)
		return makeSiteKey(path)
	}
	return key, err
}

func readSiteKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != siteKeyBytes {
		return nil, fmt.Errorf("%s: want %d hex digits, as openssl rand -hex %d makes them", path, 2*siteKeyBytes, siteKeyBytes)
	}
	return key, nil
}

// makeSiteKey writes a new key whole or not at all: half a key would be a
// gateway that never starts again.
func makeSiteKey(path string) ([]byte, error) {
	key := make([]byte, siteKeyBytes)
	rand.Read(key)                                             // never fails: crypto/rand
	f, err := os.CreateTemp(filepath.Dir(path), ".site.key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(f.Name(), path)
}

// loadKeys reads who may sign what.
func loadKeys(what, path string) (keys jose.JSONWebKeySet, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return keys, fmt.Errorf("%s: %w\nhint: badgectl %s keygen makes a pair; the public one belongs here", what, err, strings.TrimSuffix(what, " keys"))
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		return keys, fmt.Errorf("%s %s: no JWK Set: %w", what, path, err)
	}
	for _, k := range keys.Keys {
		if !k.IsPublic() {
			return keys, fmt.Errorf("%s %s: key %q is a private key\nhint: it belongs to who signs, alone; put the public .jwks here", what, path, k.KeyID)
		}
	}
	if len(keys.Keys) == 0 {
		return keys, fmt.Errorf("%s %s: no key in it", what, path)
	}
	return keys, nil
}

// newTransactionID is random: two gateways, or one that lost its files, never
// give the same one (UUID version 4, RFC 9562).
func newTransactionID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
