package session

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"
)

// Entry is one badge of the local list, in the form of the MQTT contract.
type Entry struct {
	UID        IDToken   `json:"uid"`
	Status     Status    `json:"status"`
	Account    string    `json:"account,omitempty"`
	Origin     Origin    `json:"origin,omitempty"`   // "" is Issued
	Role       Role      `json:"role,omitempty"`     // "" is User
	Services   []Service `json:"services,omitempty"` // none is all
	Stations   []string  `json:"stations,omitempty"` // none is every station that is not private
	ValidFrom  time.Time `json:"validFrom,omitzero"`
	ValidUntil time.Time `json:"validUntil,omitzero"` // exclusive
	Language   string    `json:"language,omitempty"`
}

// Digest is the SHA-256 that stands for the whole content of a list's version.
type Digest [32]byte

// String is lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes lower-case hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 64 hex digits.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != 64 {
		return fmt.Errorf("digest of %d characters, want 64", len(b))
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// ListVersion is a point in a list's history. Points are ordered by (Epoch,
// Version); two lists at one point with one digest are the same list.
type ListVersion struct {
	List     string    `json:"list"`
	Epoch    uint64    `json:"epoch"`
	Version  uint64    `json:"version"`
	Digest   Digest    `json:"digest"`
	Count    int       `json:"count"`
	IssuedAt time.Time `json:"issuedAt"`
}

// Compare orders two versions of one list by (Epoch, Version).
func (v ListVersion) Compare(w ListVersion) int {
	switch {
	case v.Epoch != w.Epoch && v.Epoch < w.Epoch, v.Epoch == w.Epoch && v.Version < w.Version:
		return -1
	case v.Epoch == w.Epoch && v.Version == w.Version:
		return 0
	}
	return 1
}

// Delta leads from one version of a list to the next: entries to put, badges to remove.
type Delta struct {
	Put    []Entry   `json:"put,omitempty"`
	Remove []IDToken `json:"remove,omitempty"`
}

// Listing is what the list in force says about a badge.
type Listing struct {
	Entry Entry // meaningless unless Found
	Found bool
	List  ListVersion // the version that said so; zero while there is no list yet
}

// List answers for one badge from the list in force. It is safe for concurrent
// use. An error means that the list could not be read, never that the badge is
// not on it.
type List interface {
	Lookup(ctx context.Context, t IDToken) (Listing, error)
}
