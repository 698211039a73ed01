package backend

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"badged/cmd/internal/table"
	"badged/mifare"
	"badged/session"
	"badged/uplink"
)

// columns are the fields of an entry as the header of a CSV names them, in lower case
// there: what sets one of them from a cell, of which only uid's may be empty.
var columns = []struct {
	name string
	set  func(*session.Entry, string) error
}{
	{"uid", setUID},
	{"status", func(e *session.Entry, s string) error { e.Status = session.Status(s); return nil }},
	{"account", func(e *session.Entry, s string) error { e.Account = s; return nil }},
	{"origin", func(e *session.Entry, s string) error { e.Origin = session.Origin(s); return nil }},
	{"role", func(e *session.Entry, s string) error { e.Role = session.Role(s); return nil }},
	{"services", func(e *session.Entry, s string) error {
		for _, name := range split(s) {
			e.Services = append(e.Services, session.Service(name))
		}
		return nil
	}},
	{"stations", func(e *session.Entry, s string) error { e.Stations = split(s); return nil }},
	{"validFrom", func(e *session.Entry, s string) error { return setTime(&e.ValidFrom, s) }},
	{"validUntil", func(e *session.Entry, s string) error { return setTime(&e.ValidUntil, s) }},
	{"language", func(e *session.Entry, s string) error { e.Language = s; return nil }},
}

const columnUID = 0

// columnOf is the index of a column by its name in lower case, -1 for none.
func columnOf(lower string) int {
	for i, c := range columns {
		if strings.ToLower(c.name) == lower {
			return i
		}
	}
	return -1
}

func checkColumn(lower string) error {
	if columnOf(lower) >= 0 {
		return nil
	}
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return fmt.Errorf("no such column; want uid, and of the others those that you need: %s", strings.Join(names[1:], ", "))
}

func setUID(e *session.Entry, s string) error {
	u, err := mifare.ReadUID(s)
	e.UID = session.IDToken(u.String())
	return err
}

func setTime(t *time.Time, s string) error {
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("%.40q: want the form 2026-12-31T00:00:00Z, or +01:00 for Z; in a spreadsheet format the column as text before", s)
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

// maxEntries bounds a list as the gateway does.
const maxEntries = 2_000_000

// ReadCSV reads a list: a header of an entry's field names, of which only uid
// must be there, then a line for each badge. Package table has what is taken for a
// table. Lists of services and stations are separated by ";", times are RFC 3339. A
// uid may have any written form that can mean one badge only: see mifare.ReadUID.
// Without another value a badge is Accepted, issued, a user's, for all services. The
// entries come back sorted by UID; every error names its line, up to ten of them.
func ReadCSV(r io.Reader) ([]session.Entry, error) {
	t, err := table.Open(r, "line ", checkColumn)
	if err == io.EOF {
		err = errors.New("empty; want a header with a column uid, and a line for each badge")
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.Columns, "uid") {
		return nil, fmt.Errorf("no column uid, only %q; want a header that has it, with commas, semicolons or tabs between", t.Columns)
	}
	var fields []int
	for _, name := range t.Columns {
		fields = append(fields, columnOf(name))
	}
	var entries []session.Entry
	lines := make(map[session.IDToken]int)
	err = t.Each(func(line int, cells []string) error {
		e, err := readRow(fields, cells)
		switch before := lines[e.UID]; {
		case err != nil:
			return err
		case before > 0:
			return fmt.Errorf("badge %s stands in line %d already", e.UID, before)
		case len(entries) == maxEntries:
			return fmt.Errorf("more than %d badges, which no gateway takes", maxEntries)
		}
		lines[e.UID] = line
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b session.Entry) int { return strings.Compare(string(a.UID), string(b.UID)) })
	return entries, nil
}

// readRow reads the cells of a row, each into the column that fields has for it.
func readRow(fields []int, cells []string) (session.Entry, error) {
	var e session.Entry
	for i, cell := range cells {
		if cell == "" && fields[i] != columnUID {
			continue
		}
		c := columns[fields[i]]
		err := table.Rounded(cell)
		if err == nil {
			err = c.set(&e, cell)
		}
		if err != nil {
			return e, table.Cell(i, fmt.Errorf("%s: %w", c.name, err))
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
