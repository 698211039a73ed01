package backend

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/durable"
)

// Files that Keygen, CommandKeygen and RootKeygen write.
const (
	KeyFile         = "list-key.jwk"   // private, mode 0600
	KeysFile        = "list-keys.jwks" // what gateways pin
	CommandKeyFile  = "command-key.jwk"
	CommandKeysFile = "command-keys.jwks"
	RootKeyFile     = "root-key.jwk" // replaces the other two: kept offline
	RootKeysFile    = "root-keys.jwks"
)

// Keygen makes an Ed25519 key for signing lists and writes its two files to dir.
// It never replaces a key. The key id is the key's thumbprint (RFC 7638).
func Keygen(dir string) error { return keygen(dir, KeyFile, KeysFile) }

// CommandKeygen does the same for signing commands.
func CommandKeygen(dir string) error { return keygen(dir, CommandKeyFile, CommandKeysFile) }

// RootKeygen does the same for signing key sets.
func RootKeygen(dir string) error { return keygen(dir, RootKeyFile, RootKeysFile) }

func keygen(dir, private, public string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	path := filepath.Join(dir, private)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("make key: %s is there already: gateways trust it, move it away if you mean to replace it", path)
	}
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	key := jose.JSONWebKey{Key: secret, Algorithm: string(jose.EdDSA), Use: "sig"}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	if err := writeJSON(filepath.Join(dir, public), jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}, 0o644); err != nil {
		return err
	}
	return writeJSON(path, key, 0o600)
}

// ReadKey reads a private key for signing. A file that others can read is refused.
func ReadKey(path string) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	info, err := os.Stat(path)
	if err != nil {
		return key, fmt.Errorf("read signing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key, fmt.Errorf("read signing key: others can read %s (chmod 600 it)", path)
	}
	if err := readJSON(path, &key); err != nil {
		return key, fmt.Errorf("read signing key: %w", err)
	}
	if _, ok := key.Key.(ed25519.PrivateKey); !ok || key.KeyID == "" {
		return key, fmt.Errorf("read signing key: %s is not a private Ed25519 JWK with a kid", path)
	}
	return key, nil
}

// ReadKeys reads the public keys that a list may be signed by.
func ReadKeys(path string) (jose.JSONWebKeySet, error) {
	var keys jose.JSONWebKeySet
	if err := readJSON(path, &keys); err != nil {
		return keys, fmt.Errorf("read keys: %w", err)
	}
	if len(keys.Keys) == 0 {
		return keys, fmt.Errorf("read keys: none in %s", path)
	}
	var bad error
	for _, k := range keys.Keys {
		if !k.IsPublic() {
			bad = errors.Join(bad, fmt.Errorf("read keys: %s holds a private key, which belongs to who signs alone", path))
		}
	}
	return keys, bad
}

func readJSON(path string, v any) error {
	b, err := durable.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
