package config

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/durable"
)

// SiteKeyBytes is the length of the key that UIDs in records are hashed with.
const SiteKeyBytes = 32

// ErrSiteKey is what a file has that has no such key.
var ErrSiteKey = errors.New("no site key in it")

// ReadSiteKey reads such a key.
func ReadSiteKey(path string) ([]byte, error) {
	b, err := durable.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != SiteKeyBytes {
		return nil, fmt.Errorf("%s: %w; want %d hex digits, as openssl rand -hex %d makes them", path, ErrSiteKey, 2*SiteKeyBytes, SiteKeyBytes)
	}
	return key, nil
}

// ListKeys reads who may sign the list, and who may replace those who may.
func (c Config) ListKeys() (keys, roots jose.JSONWebKeySet, err error) {
	if keys, err = LoadKeys("list keys", c.List.Keys); err != nil || c.List.Roots == "" {
		return keys, roots, err
	}
	roots, err = LoadKeys("root keys", c.List.Roots)
	return keys, roots, err
}

// rootsApart refuses a root that is also used for everyday signing: who steals
// that key could then replace the others.
func (c Config) rootsApart() error {
	if c.List.Roots == "" {
		return nil
	}
	roots, _ := LoadKeys("root keys", c.List.Roots) // is checked by itself, as the others
	for what, everyday := range map[string]string{"list keys": c.List.Keys, "command keys": c.CommandKeys} {
		keys, _ := LoadKeys(what, everyday)
		for _, r := range roots.Keys {
			if slices.ContainsFunc(keys.Keys, func(k jose.JSONWebKey) bool { return reflect.DeepEqual(k.Key, r.Key) }) {
				return fmt.Errorf("key %q is among the %s too; want a root of its own, kept offline: %s", r.KeyID, what, keygens["root keys"])
			}
		}
	}
	return nil
}

// keygens are the commands that make keys, by what they are.
var keygens = map[string]string{
	"list keys": "badgectl list keygen", "root keys": "badgectl list keygen --kind root", "command keys": "badgectl command keygen",
}

// LoadKeys reads who may sign what: "list keys", "command keys", "root keys".
func LoadKeys(what, path string) (keys jose.JSONWebKeySet, err error) {
	b, err := durable.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keys, fmt.Errorf("%s: %w\nhint: %s makes a pair; the public one belongs here", what, err, keygens[what])
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return keys, fmt.Errorf("%s: %w\nhint: %s", what, err, readable(err))
	case err != nil:
		return keys, fmt.Errorf("%s: %w", what, err)
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
