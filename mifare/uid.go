package mifare

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// UID is the unique identifier that a PICC gives in anticollision: 4, 7 or 10
// bytes in the order they come over the air, without cascade tags and BCC
// (ISO/IEC 14443-3, 6.5.4). It is comparable; the zero value is no UID.
type UID struct {
	b [10]byte
	n uint8
}

// NewUID returns the UID with the bytes b; any length but 4, 7 and 10 is an error.
func NewUID(b []byte) (UID, error) {
	switch len(b) {
	case 4, 7, 10:
	default:
		return UID{}, fmt.Errorf("UID of %d bytes, want 4, 7 or 10", len(b))
	}
	u := UID{n: uint8(len(b))}
	copy(u.b[:], b)
	return u, nil
}

// ParseUID reads the canonical form, hex digits in wire order in either case
// and nothing between them. The many other forms that people write are for
// Readings, which says when one is ambiguous.
func ParseUID(s string) (UID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return UID{}, fmt.Errorf("UID %q: want 8, 14 or 20 hex digits", s)
	}
	return NewUID(b)
}

// Bytes returns a copy of the UID in wire order.
func (u UID) Bytes() []byte { return append([]byte(nil), u.b[:u.n]...) }

// Len is the number of bytes: 4 (single), 7 (double), 10 (triple), or 0.
func (u UID) Len() int { return int(u.n) }

// String is the canonical form: upper-case hex in wire order.
func (u UID) String() string { return strings.ToUpper(hex.EncodeToString(u.b[:u.n])) }

// MarshalText writes the canonical form.
func (u UID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the canonical form.
func (u *UID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUID(string(b))
	return err
}
