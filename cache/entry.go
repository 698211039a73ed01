package cache

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"badged/session"
)

// row is an entry as it is stored. Most badges have only a UID and an account,
// and a list has a million of them: more is empty unless something else differs
// from the defaults (Accepted, issued, user, all services, no limits).
type row struct {
	uid     []byte
	account string
	more    string
}

// more is the rest of an entry, in JSON, without what is default.
type more struct {
	Status     session.Status    `json:"status,omitempty"`
	Origin     session.Origin    `json:"origin,omitempty"`
	Role       session.Role      `json:"role,omitempty"`
	Services   []session.Service `json:"services,omitempty"`
	Stations   []string          `json:"stations,omitempty"`
	ValidFrom  time.Time         `json:"validFrom,omitzero"`
	ValidUntil time.Time         `json:"validUntil,omitzero"`
	Language   string            `json:"language,omitempty"`
}

func toRow(e session.Entry) (row, error) {
	uid, ok := uidBytes(e.UID)
	if !ok {
		return row{}, fmt.Errorf("entry %q: not a UID of 4, 7 or 10 bytes in upper-case hex", e.UID.Masked())
	}
	if e.Status == "" {
		return row{}, fmt.Errorf("entry %s: no status", e.UID.Masked())
	}
	m := more{e.Status, e.Origin, e.Role, e.Services, e.Stations, e.ValidFrom, e.ValidUntil, e.Language}
	if m.Status == session.Accepted {
		m.Status = ""
	}
	if m.Origin == session.Issued {
		m.Origin = ""
	}
	if m.Role == session.User {
		m.Role = ""
	}
	b, err := json.Marshal(m)
	if err != nil {
		return row{}, fmt.Errorf("entry %s: %w", e.UID.Masked(), err)
	}
	if string(b) == "{}" {
		b = nil
	}
	return row{uid, e.Account, string(b)}, nil
}

// entry is the way back. Defaults come out spelt as words.
func (r row) entry(t session.IDToken) (session.Entry, error) {
	m := more{Status: session.Accepted, Origin: session.Issued, Role: session.User}
	if r.more != "" {
		if err := json.Unmarshal([]byte(r.more), &m); err != nil {
			return session.Entry{}, err
		}
	}
	return session.Entry{UID: t, Status: m.Status, Account: r.account, Origin: m.Origin, Role: m.Role, Services: m.Services,
		Stations: m.Stations, ValidFrom: m.ValidFrom, ValidUntil: m.ValidUntil, Language: m.Language}, nil
}

// rows converts entries and sorts them by UID: in the order of the tree a
// million entries load in half the time.
func rows(entries []session.Entry) ([]row, error) {
	rs := make([]row, 0, len(entries))
	for _, e := range entries {
		r, err := toRow(e)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(a, b row) int { return bytes.Compare(a.uid, b.uid) })
	return rs, nil
}

// uidBytes is false for what is no canonical UID: single, double or triple size
// (ISO/IEC 14443-3, 6.5.4), upper-case hex.
func uidBytes(t session.IDToken) ([]byte, bool) {
	if n := len(t); n != 8 && n != 14 && n != 20 {
		return nil, false
	}
	for i := range len(t) {
		if c := t[i]; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return nil, false
		}
	}
	b, err := hex.DecodeString(string(t))
	return b, err == nil
}
