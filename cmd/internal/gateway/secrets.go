package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
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
	return func(t session.IDToken) string { return keyed(key, string(t)) }, nil
}

// keyed stands for s: the same for the same s, and nobody without the key can
// tell which one that is.
func keyed(key []byte, s string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// siteKey reads the key that the config names. Without one it makes a key of
// this gateway alone: records then tell badges apart, and only their account
// says whose they are.
func (g *gateway) siteKey() ([]byte, error) {
	path, own := g.cfg.SiteKey, g.cfg.SiteKey == ""
	if own {
		path = filepath.Join(g.cfg.State, "site.key")
	}
	key, err := config.ReadSiteKey(path)
	switch {
	case own && errors.Is(err, fs.ErrNotExist):
		g.log.Warn("no site key in the config: the backend cannot resolve the UIDs in records, only their accounts", "made", path)
	case own && (errors.Is(err, config.ErrSiteKey) || errors.Is(err, durable.ErrLarge)):
		// Nobody else has it: without a new one the gateway would never start again.
		g.log.Error("own site key damaged: badges have other names in records from now on", "made", path, "err", err)
	default:
		return key, err
	}
	key = make([]byte, config.SiteKeyBytes)
	rand.Read(key) // never fails: crypto/rand
	return key, durable.WriteFile(path, []byte(hex.EncodeToString(key)+"\n"), 0o600)
}

// newTransactionID is random: two gateways, or one that lost its files, never
// give the same one (UUID version 4, RFC 9562).
func newTransactionID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
