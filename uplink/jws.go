package uplink

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

func sign(v any, typ jose.ContentType, key jose.JSONWebKey) ([]byte, error) {
	if key.KeyID == "" {
		return nil, errors.New("sign: the key has no key id (kid)")
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	o, err := s.Sign(b)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	c, err := o.CompactSerialize()
	return []byte(c), err
}

// verify returns what a compact JWS of that type carries if one of the keys
// signed it. A header may leave out the key id: then every key is tried.
func verify(message []byte, limit int, typ string, keys jose.JSONWebKeySet) ([]byte, error) {
	if len(message) > limit {
		return nil, fmt.Errorf("%d bytes long, at most %d are allowed", len(message), limit)
	}
	kid, err := jwsKey(string(message), typ)
	if err != nil {
		return nil, err
	}
	candidates := keys.Keys
	if kid != "" {
		candidates = keys.Key(kid)
	}
	if len(candidates) == 0 {
		return nil, fmt.Errorf("signed by key %.64q, which is not among the pinned keys", kid)
	}
	o, err := jose.ParseSignedCompact(string(message), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, err
	}
	for _, k := range candidates {
		if b, err := o.Verify(k.Public()); err == nil {
			return b, nil
		}
	}
	if kid == "" {
		return nil, errors.New("signature is of none of the pinned keys")
	}
	return nil, fmt.Errorf("signature of key %.64q is wrong", kid)
}

// forged are header parameters that bring a key along, or change what was
// signed (RFC 7515, 4.1, and RFC 7797): no publisher of ours needs them.
var forged = []string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"}

// jwsKey checks a JWS header and reads its key id, "" if it has none.
func jwsKey(compact, typ string) (string, error) {
	first, _, _ := strings.Cut(compact, ".")
	b, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return "", errors.New("is not a compact JWS")
	}
	var header map[string]any
	if err := unmarshal(b, &header); err != nil {
		return "", fmt.Errorf("JWS header: %w", err)
	}
	if header["alg"] != "EdDSA" || header["typ"] != typ {
		return "", fmt.Errorf("JWS header must have alg EdDSA and typ %s", typ)
	}
	for _, name := range forged {
		if _, there := header[name]; there {
			return "", fmt.Errorf("JWS header must not have %s", name)
		}
	}
	kid, isText := header["kid"].(string)
	if _, there := header["kid"]; there && (!isText || kid == "") {
		return "", errors.New("JWS header has a kid that is no text")
	}
	return kid, nil
}
