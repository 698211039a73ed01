package uplink

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"badged/session"
)

// Bounds of one message of a list. MaxPayload passes every broker and cloud
// service, retained too.
const (
	MaxPayload  = 48 << 10 // bytes as sent
	MaxInflated = 1 << 20  // bytes of JSON
	MaxItems    = 10_000   // entries put and badges removed
)

// Delta is the message that leads to Version from the version before.
type Delta struct {
	List    string `json:"list"`
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
	session.Delta
}

// Index is the message that lists the chunks of a snapshot by their SHA-256.
type Index struct {
	List    string           `json:"list"`
	Epoch   uint64           `json:"epoch"`
	Version uint64           `json:"version"`
	Count   int              `json:"count"` // entries in all chunks
	Chunks  []session.Digest `json:"chunks"`
}

// Chunk is one piece of a snapshot. No badge stands in two chunks of a snapshot.
type Chunk struct {
	Put []session.Entry `json:"put"`
}

// ErrTooLong is what Encode answers when a message would pass the bounds: cut it.
var ErrTooLong = errors.New("list message is too long")

// Encode makes the payload of a Delta, Index or Chunk: gzip of its JSON.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode list message: %w", err)
	}
	if len(b) > MaxInflated {
		return nil, ErrTooLong
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if out.Len() > MaxPayload {
		return nil, ErrTooLong
	}
	return out.Bytes(), nil
}

// DecodeDelta reads a delta within the bounds. The caller has checked its hash.
func DecodeDelta(payload []byte) (Delta, error) {
	var d Delta
	if err := decode(payload, &d, "list", "epoch", "version"); err != nil {
		return Delta{}, fmt.Errorf("delta: %w", err)
	}
	if err := checkItems(d.Put, d.Remove); err != nil {
		return Delta{}, fmt.Errorf("delta %d: %w", d.Version, err)
	}
	return d, nil
}

// DecodeIndex reads an index within the bounds. The caller has checked its hash.
func DecodeIndex(payload []byte) (Index, error) {
	var x Index
	if err := decode(payload, &x, "list", "epoch", "version", "count", "chunks"); err != nil {
		return Index{}, fmt.Errorf("index: %w", err)
	}
	if x.Count < 0 || x.Count > maxEntries || len(x.Chunks) > MaxItems {
		return Index{}, fmt.Errorf("index: %d entries in %d chunks are out of range", x.Count, len(x.Chunks))
	}
	return x, nil
}

// DecodeChunk reads a chunk within the bounds. The caller has checked its hash.
func DecodeChunk(payload []byte) (Chunk, error) {
	var c Chunk
	if err := decode(payload, &c, "put"); err != nil {
		return Chunk{}, fmt.Errorf("chunk: %w", err)
	}
	if err := checkItems(c.Put, nil); err != nil {
		return Chunk{}, fmt.Errorf("chunk: %w", err)
	}
	return c, nil
}

func decode(payload []byte, v any, members ...string) error {
	b, err := inflate(payload)
	if err != nil {
		return err
	}
	if err := unmarshal(b, v); err != nil {
		return err
	}
	return require(b, members...)
}

func inflate(payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes, at most %d are allowed", len(payload), MaxPayload)
	}
	z, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, MaxInflated+1))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	if len(b) > MaxInflated {
		return nil, fmt.Errorf("inflates to more than %d bytes", MaxInflated)
	}
	return b, nil
}

func checkItems(put []session.Entry, remove []session.IDToken) error {
	if n := len(put) + len(remove); n > MaxItems {
		return fmt.Errorf("%d entries, at most %d are allowed", n, MaxItems)
	}
	seen := make(map[session.IDToken]bool, len(put)+len(remove))
	once := func(uid session.IDToken) error {
		if seen[uid] {
			return fmt.Errorf("badge %s stands in it twice", uid.Masked())
		}
		seen[uid] = true
		return nil
	}
	for _, e := range put {
		if err := errors.Join(CheckEntry(e), once(e.UID)); err != nil {
			return err
		}
	}
	for _, uid := range remove {
		if err := errors.Join(checkUID(uid), once(uid)); err != nil {
			return err
		}
	}
	return nil
}

var (
	statuses = []session.Status{session.Accepted, session.Blocked, session.ConcurrentTx, session.Expired, session.Invalid,
		session.NotAllowedTypeEVSE, session.NotAtThisLocation, session.NotAtThisTime, session.Unknown}
	origins = []session.Origin{"", session.Issued, session.ThirdParty}
	roles   = []session.Role{"", session.User, session.Master, session.Tester}
)

// CheckEntry tells what is wrong with an entry of a list. A service that this
// version does not know is no error: it opens nothing here.
func CheckEntry(e session.Entry) error {
	if err := checkUID(e.UID); err != nil {
		return err
	}
	wrong := func(field string, v any) error {
		return fmt.Errorf("badge %s: %s %.80q is not known", e.UID.Masked(), field, v)
	}
	switch {
	case !slices.Contains(statuses, e.Status):
		return wrong("status", e.Status)
	case !slices.Contains(origins, e.Origin):
		return wrong("origin", e.Origin)
	case !slices.Contains(roles, e.Role):
		return wrong("role", e.Role)
	case len(e.Account) > 128:
		return fmt.Errorf("badge %s: account of %d bytes, at most 128 are allowed", e.UID.Masked(), len(e.Account))
	case len(e.Services) > 16 || len(e.Stations) > 256 || len(e.Language) > 35:
		return fmt.Errorf("badge %s: too many services or stations, or too long a language", e.UID.Masked())
	}
	return checkNames(e)
}

func checkNames(e session.Entry) error {
	for _, s := range e.Services {
		if err := CheckID(string(s)); err != nil {
			return fmt.Errorf("badge %s: service: %w", e.UID.Masked(), err)
		}
	}
	for _, s := range e.Stations {
		if err := CheckID(s); err != nil {
			return fmt.Errorf("badge %s: station: %w", e.UID.Masked(), err)
		}
	}
	return nil
}

// checkUID wants the canonical form of 4, 7 or 10 bytes.
func checkUID(t session.IDToken) error {
	if n := len(t); n != 8 && n != 14 && n != 20 {
		return fmt.Errorf("uid of %d characters, want 8, 14 or 20", n)
	}
	for _, c := range t {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return errors.New("uid must be upper-case hex")
		}
	}
	return nil
}
