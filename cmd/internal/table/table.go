// Package table reads tables that people have saved as CSV (RFC 4180): a header with
// the names of columns, and rows. It takes what spreadsheets make of that, semicolons
// or tabs, a first line that names them, a mark of UTF-8 or UTF-16, any line ends,
// capitals and blanks in the header, empty rows and columns; and it holds one row at
// a time. What may mean two things is an error that names its line and column as the
// spreadsheet does.
package table

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a table whose header was read.
type Table struct {
	// Columns are the names in the header, in lower case; "" for a column without one.
	Columns []string

	at    string
	above int // lines above those that csv counts
	lines *lines
	csv   *csv.Reader
}

// wrong is what is wrong with a line.
type wrong struct {
	line int
	error
}

func (w wrong) Unwrap() error { return w.error }

// Open reads the header. at is what errors put before the number of a line, such as
// "site.csv:"; known is what is wrong with a name of a column that is in lower case,
// nil if there may be such a column. Without any row it is io.EOF.
func Open(r io.Reader, at string, known func(name string) error) (*Table, error) {
	t := &Table{at: at, lines: newLines(r)}
	if err := t.begin(); err != nil {
		return nil, t.place(err)
	}
	row, err := t.read()
	if err != nil {
		return nil, t.torn(err)
	}
	line := t.line()
	var all error
	for i, cell := range row {
		name := strings.ToLower(strings.TrimSpace(cell))
		if name != "" {
			err := known(name)
			if slices.Contains(t.Columns, name) {
				err = errors.New("stands there twice")
			}
			if err != nil {
				all = errors.Join(all, t.place(wrong{line, Cell(i, fmt.Errorf("%.80q: %w", strings.TrimSpace(cell), err))}))
			}
		}
		t.Columns = append(t.Columns, name)
	}
	for n := len(t.Columns); n > 0 && t.Columns[n-1] == ""; n-- {
		t.Columns = t.Columns[:n-1]
	}
	return t, all
}

// separator is a first line that tells Excel, and nobody else, how cells are
// separated.
var separator = regexp.MustCompile(`(?i)^"?sep=([^\n"]?)"?[,;\t]*\n$`)

// begin finds the header and what separates its cells.
func (t *Table) begin() error {
	line, err := t.filled()
	if err != nil {
		return err
	}
	comma := rune(0)
	if m := separator.FindSubmatch(line); m != nil {
		if comma, _ = utf8.DecodeRune(m[1]); !strings.ContainsRune(",;\t|", comma) {
			return wrong{t.lines.n, fmt.Errorf("it says %q; want a comma, a semicolon or a tab between the cells, or no such line", bytes.TrimSpace(line))}
		}
		t.lines.row = 0
		if line, err = t.filled(); err != nil {
			return err
		}
	}
	if comma == 0 {
		comma = commaOf(line)
	}
	t.above = t.lines.n - 1
	t.csv = csv.NewReader(t.lines)
	t.csv.Comma, t.csv.FieldsPerRecord, t.csv.ReuseRecord = comma, -1, true
	t.csv.TrimLeadingSpace = comma != '\t' // else empty cells would go
	return nil
}

// filled is the next line that is not empty.
func (t *Table) filled() ([]byte, error) {
	for {
		line, err := t.lines.next()
		if err != nil || len(line) > 1 {
			return line, err
		}
	}
}

// commaOf is what separates cells: spreadsheets of many countries put semicolons.
func commaOf(header []byte) rune {
	most := ','
	for _, c := range ";\t" {
		if bytes.Count(header, []byte(string(c))) > bytes.Count(header, []byte(string(most))) {
			most = c
		}
	}
	return most
}

// maxWrong is how many rows are told of at once.
const maxWrong = 10

// Each gives every row that is not empty: its line, and a cell for each column, which
// holds until do returns. What do says of ten rows ends it; then all of that comes
// back, each with its place.
func (t *Table) Each(do func(line int, cells []string) error) error {
	var all []error
	for len(all) < maxWrong {
		row, err := t.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.Join(append(all, t.torn(err))...)
		}
		line := t.line()
		cells, err := t.fit(row)
		if err == nil {
			err = do(line, cells)
		}
		if err != nil {
			all = append(all, t.place(wrong{line, err}))
		}
	}
	return errors.Join(all...)
}

// read gives the next row that is not empty.
func (t *Table) read() (row []string, err error) {
	for err == nil && empty(row) {
		t.lines.row = 0
		row, err = t.csv.Read()
	}
	return row, err
}

// line is where the row begins.
func (t *Table) line() int {
	line, _ := t.csv.FieldPos(0)
	return line + t.above
}

// fit gives a row the length of the header.
func (t *Table) fit(row []string) ([]string, error) {
	for i, cell := range row {
		row[i] = strings.TrimSpace(cell)
	}
	for len(row) > len(t.Columns) && row[len(row)-1] == "" {
		row = row[:len(row)-1]
	}
	if len(row) != len(t.Columns) {
		return nil, fmt.Errorf("wrong number of fields: %d, the header has %d; is a %q missing, or one too many, in a cell without quotes?", len(row), len(t.Columns), t.csv.Comma)
	}
	for i, cell := range row {
		if cell != "" && t.Columns[i] == "" {
			return nil, Cell(i, fmt.Errorf("%.80q has no name of a column above it", cell))
		}
	}
	return row, nil
}

func empty(row []string) bool {
	return !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

// place puts the line before what is wrong with it.
func (t *Table) place(err error) error {
	var w wrong
	if !errors.As(err, &w) {
		return err
	}
	return fmt.Errorf("%s%d: %w", t.at, w.line, w.error)
}

// torn says what is wrong with quotation marks; other errors of reading have a place,
// or need none.
func (t *Table) torn(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return t.place(err)
	}
	return fmt.Errorf("%s%d: %w in the row that begins in line %d; want cells with a quotation mark in them as the spreadsheet writes them: \"5\"\" display\"",
		t.at, p.Line+t.above, p.Err, p.StartLine+t.above)
}

// Cell says which cell of a row is wrong, counted from 0.
func Cell(i int, err error) error { return fmt.Errorf("column %s: %w", letter(i), err) }

// letter is what a spreadsheet calls a column.
func letter(i int) string {
	name := string(rune('A' + i%26))
	if i < 26 {
		return name
	}
	return letter(i/26-1) + name
}

// rounded is what spreadsheets make of a number that is too long for them, and of
// digits around an E.
var rounded = regexp.MustCompile(`(?i)^[0-9]([.,][0-9]+)?E\+[0-9]+$`)

// Rounded is an error where a spreadsheet took a cell for a number, and its digits are
// gone.
func Rounded(cell string) error {
	if !strings.Contains(cell, "+") || !rounded.MatchString(cell) {
		return nil
	}
	return fmt.Errorf("%q: the spreadsheet has rounded a number; format the column as text, and write the number again", cell)
}
