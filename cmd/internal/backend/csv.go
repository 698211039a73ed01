package backend

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"badged/mifare"
	"badged/session"
	"badged/uplink"
)

// columns are the fields of an entry as the header of a CSV names them.
var columns = map[string]func(*session.Entry, string) error{
	"uid":     setUID,
	"status":  func(e *session.Entry, s string) error { e.Status = session.Status(s); return nil },
	"account": func(e *session.Entry, s string) error { e.Account = s; return nil },
	"origin":  func(e *session.Entry, s string) error { e.Origin = session.Origin(s); return nil },
	"role":    func(e *session.Entry, s string) error { e.Role = session.Role(s); return nil },
	"services": func(e *session.Entry, s string) error {
		for _, name := range split(s) {
			e.Services = append(e.Services, session.Service(name))
		}
		return nil
	},
	"stations":   func(e *session.Entry, s string) error { e.Stations = split(s); return nil },
	"validFrom":  func(e *session.Entry, s string) error { return setTime(&e.ValidFrom, s) },
	"validUntil": func(e *session.Entry, s string) error { return setTime(&e.ValidUntil, s) },
	"language":   func(e *session.Entry, s string) error { e.Language = s; return nil },
}

func setUID(e *session.Entry, s string) error {
	u, err := mifare.ReadUID(s)
	e.UID = session.IDToken(u.String())
	return err
}

func setTime(t *time.Time, s string) error {
	if s == "" {
		return nil
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("time %q: want the form 2026-12-31T00:00:00Z", s)
	}
	*t = v.UTC()
	return nil
}

func split(s string) []string {
	var names []string
	for name := range strings.SplitSeq(s, ";") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Bounds of a list's file, so that one without an end is refused and not read.
const (
	maxRow     = 64 << 10
	maxEntries = 2_000_000 // as the gateway has it
)

// rows is a file with lines of bounded length.
type rows struct {
	io.Reader
	line, length int // of the lines before, and of the one that is read
}

func (r *rows) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	for rest := p[:n]; ; {
		i := bytes.IndexByte(rest, '\n')
		if r.length += i; i < 0 {
			r.length += 1 + len(rest)
		}
		if r.length > maxRow {
			return 0, fmt.Errorf("line %d is longer than 64 KiB; is it the right file?", r.line+1)
		}
		if i < 0 {
			return n, err
		}
		r.line, r.length, rest = r.line+1, 0, rest[i+1:]
	}
}

// ReadCSV reads a list: a header of an entry's field names, of which only uid
// must be there, then a line for each badge. Lists of services and stations are
// separated by ";", times are RFC 3339. A uid may have any written form that can
// mean one badge only: see mifare.ReadUID. Without another value a badge is Accepted,
// issued, a user's, for all services. The entries come back sorted by UID; every
// error names its line, up to ten of them.
func ReadCSV(r io.Reader) ([]session.Entry, error) {
	c := csv.NewReader(&rows{Reader: r})
	c.TrimLeadingSpace = true
	fields, err := readHeader(c)
	if err != nil {
		return nil, err
	}
	var entries []session.Entry
	var wrong []error
	lines := make(map[session.IDToken]int)
	for len(wrong) < 10 {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("csv: %w", err)
		}
		line, _ := c.FieldPos(0)
		e, err := readRow(fields, row)
		if before := lines[e.UID]; err == nil && before > 0 {
			err = fmt.Errorf("badge %s stands in line %d already", e.UID, before)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		if len(entries) == maxEntries {
			return nil, fmt.Errorf("line %d: more than %d badges, which no gateway takes", line, maxEntries)
		}
		lines[e.UID] = line
		entries = append(entries, e)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	slices.SortFunc(entries, func(a, b session.Entry) int { return strings.Compare(string(a.UID), string(b.UID)) })
	return entries, nil
}

func readHeader(c *csv.Reader) ([]string, error) {
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("csv: header with a column uid: %w", err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // spreadsheets put it there
	for i, name := range header {
		header[i] = strings.TrimSpace(name)
		if columns[header[i]] == nil {
			return nil, fmt.Errorf("line 1: unknown column %q", name)
		}
		if slices.Contains(header[:i], header[i]) {
			return nil, fmt.Errorf("line 1: column %q stands there twice", name)
		}
	}
	if !slices.Contains(header, "uid") {
		return nil, errors.New("line 1: no column uid")
	}
	return header, nil
}

func readRow(fields, row []string) (session.Entry, error) {
	var e session.Entry
	for i, name := range fields {
		if err := columns[name](&e, strings.TrimSpace(row[i])); err != nil {
			return e, err
		}
	}
	if e.Status == "" {
		e.Status = session.Accepted
	}
	e = normal(e)
	return e, errors.Join(uplink.CheckEntry(e), meant(e))
}

// meant refuses what a gateway would take and nobody can have meant.
func meant(e session.Entry) error {
	for _, s := range e.Services {
		if s != session.Laundry && s != session.Charging {
			return fmt.Errorf("service %q: want laundry or charging", s)
		}
	}
	switch {
	case !slices.Contains([]string{"", "de", "fr", "it", "en"}, e.Language):
		return fmt.Errorf("language %q: want de, fr, it or en", e.Language)
	case !e.ValidFrom.IsZero() && !e.ValidUntil.IsZero() && !e.ValidFrom.Before(e.ValidUntil):
		return errors.New("validUntil is not after validFrom")
	}
	return nil
}

// normal is the one form of entries that mean the same.
func normal(e session.Entry) session.Entry {
	if e.Origin == session.Issued {
		e.Origin = ""
	}
	if e.Role == session.User {
		e.Role = ""
	}
	if len(e.Services) == 0 {
		e.Services = nil
	}
	if len(e.Stations) == 0 {
		e.Stations = nil
	}
	e.ValidFrom, e.ValidUntil = e.ValidFrom.UTC(), e.ValidUntil.UTC()
	return e
}

func same(a, b session.Entry) bool {
	return a.UID == b.UID && a.Status == b.Status && a.Account == b.Account && a.Origin == b.Origin && a.Role == b.Role &&
		slices.Equal(a.Services, b.Services) && slices.Equal(a.Stations, b.Stations) &&
		a.ValidFrom.Equal(b.ValidFrom) && a.ValidUntil.Equal(b.ValidUntil) && a.Language == b.Language
}
