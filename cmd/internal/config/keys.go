package config

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// SiteKeyBytes is the length of the key that UIDs in records are hashed with.
const SiteKeyBytes = 32

// ReadSiteKey reads such a key.
func ReadSiteKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != SiteKeyBytes {
		return nil, fmt.Errorf("%s: want %d hex digits, as openssl rand -hex %d makes them", path, 2*SiteKeyBytes, SiteKeyBytes)
	}
	return key, nil
}

// LoadKeys reads who may sign what: "list keys", "command keys".
func LoadKeys(what, path string) (keys jose.JSONWebKeySet, err error) {
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
