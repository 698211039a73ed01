package provision

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

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
)

// Columns of a CSV that are no keys of badged.toml.
const (
	columnPassword = "password"
	columnBoard    = "board"
	columnReplaces = "replaces"
)

// table is a CSV on its way to orders.
type table struct {
	name    string // where the rows stand, for people
	dir     string // of the files that cells name
	columns []string
	*csv.Reader
}

// ReadCSV reads orders: a header of keys of badged.toml, such as gateway.id and
// station[0].relay, of which gateway.id must be there, and beside them password,
// board and replaces; then a row for each gateway. An empty cell leaves the
// template's value, and an empty row is none. It takes what spreadsheets make of
// that: semicolons or tabs, a first line that names them, a mark of UTF-8 or UTF-16,
// any line ends, capitals and blanks in the header. name is where the rows stand,
// for people.
func ReadCSV(r io.Reader, name, dir string) ([]Order, error) {
	b, err := durable.ReadAll(r, name)
	if err != nil {
		return nil, err
	}
	t := table{name: name, dir: dir}
	if t.Reader, err = open(b); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := t.header(); err != nil {
		return nil, err
	}
	var out []Order
	var wrong error
	for {
		row, err := t.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.Join(wrong, t.torn(err))
		}
		if empty(row) {
			continue
		}
		line, _ := t.FieldPos(0)
		o := Order{From: fmt.Sprintf("%s:%d", name, line), Values: map[string]string{}, Dir: dir}
		if err := t.fill(&o, row); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", o.From, err))
		}
		out = append(out, o)
	}
	if len(out) == 0 && wrong == nil {
		wrong = fmt.Errorf("%s: no gateway in it, only the header; want a row for each", name)
	}
	if wrong != nil {
		return nil, wrong
	}
	return out, nil
}

// separator is a first line that tells Excel, and nobody else, how cells are
// separated.
var separator = regexp.MustCompile(`(?i)^"?sep=([^\n"]?)"?[,;\t]*\n`)

// open reads what a spreadsheet has saved as text.
func open(b []byte) (*csv.Reader, error) {
	b, ok := plainText(b)
	if !ok {
		return nil, errors.New("not plain text in UTF-8; save it from the spreadsheet as CSV UTF-8")
	}
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n")) // of old Macs
	comma := rune(0)
	if m := separator.FindSubmatch(b); m != nil {
		if comma, _ = utf8.DecodeRune(m[1]); !strings.ContainsRune(",;\t|", comma) {
			return nil, fmt.Errorf("line 1 says %q; want a comma, a semicolon or a tab between the cells, or no such line", bytes.TrimSpace(m[0]))
		}
		b = append([]byte("\n"), b[len(m[0]):]...) // an empty line keeps the numbers of the lines
	}
	if comma == 0 {
		comma = commaOf(b)
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.Comma, c.FieldsPerRecord = comma, -1
	c.TrimLeadingSpace = c.Comma != '\t' // else empty cells would go
	return c, nil
}

// commaOf is what separates cells: spreadsheets of many countries put semicolons.
func commaOf(table []byte) rune {
	header, _, _ := bytes.Cut(bytes.TrimLeft(table, "\n"), []byte("\n"))
	most := ','
	for _, c := range ";\t" {
		if bytes.Count(header, []byte(string(c))) > bytes.Count(header, []byte(string(most))) {
			most = c
		}
	}
	return most
}

// header reads the names of the columns; those without one have to be empty.
func (t *table) header() error {
	row, err := t.Read()
	if err == io.EOF {
		return fmt.Errorf("%s: empty; want a header with a column gateway.id, and a row for each gateway", t.name)
	}
	if err != nil {
		return t.torn(err)
	}
	line, _ := t.FieldPos(0)
	var wrong error
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(name))
		switch at := fmt.Sprintf("%s:%d: column %s", t.name, line, letter(i)); {
		case name == "":
		case slices.Contains(t.columns, name):
			wrong = errors.Join(wrong, fmt.Errorf("%s: %s stands there twice", at, name))
		case !isColumn(name):
			wrong = errors.Join(wrong, fmt.Errorf("%s: %q: no such key of badged.toml, and none of password, board and replaces%s", at, strings.TrimSpace(row[i]), meant(name)))
		}
		t.columns = append(t.columns, name)
	}
	for n := len(t.columns); n > 0 && t.columns[n-1] == ""; n-- {
		t.columns = t.columns[:n-1]
	}
	if wrong == nil && !slices.Contains(t.columns, "gateway.id") {
		wrong = fmt.Errorf("%s:%d: no column gateway.id, only %q; want a header of keys of badged.toml, with commas, semicolons or tabs between", t.name, line, row)
	}
	return wrong
}

func isColumn(name string) bool {
	return name == columnPassword || name == columnBoard || name == columnReplaces || config.IsKey(name)
}

// meant is what an unknown column may stand for, as an end of a sentence.
func meant(name string) string {
	alike := config.Alike(name)
	if strings.Contains(name, "serial") {
		alike = append([]string{columnBoard + " (the board's)"}, alike...)
	}
	if len(alike) == 0 {
		return "; see the reference config for the keys there are"
	}
	return "; is it " + strings.Join(alike, " or ") + "?"
}

// torn says what is wrong with quotation marks.
func (t *table) torn(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return fmt.Errorf("%s:%d: %w in the row that begins in line %d; want cells with a quotation mark in them as the spreadsheet writes them: \"5\"\" display\"", t.name, p.Line, p.Err, p.StartLine)
}

// fill gives an order what stands in a row, up to the first cell that is wrong.
func (t *table) fill(o *Order, row []string) error {
	for len(row) > len(t.columns) && strings.TrimSpace(row[len(row)-1]) == "" {
		row = row[:len(row)-1]
	}
	if len(row) != len(t.columns) {
		return fmt.Errorf("wrong number of fields: %d, the header has %d; is a %q missing, or one too many, in a cell without quotes?", len(row), len(t.columns), t.Comma)
	}
	for i, column := range t.columns {
		if err := o.take(column, strings.TrimSpace(row[i])); err != nil {
			return fmt.Errorf("column %s: %w", letter(i), err)
		}
	}
	return nil
}

func empty(row []string) bool {
	return !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

// letter is what a spreadsheet calls a column, counted from 0.
func letter(i int) string {
	name := string(rune('A' + i%26))
	if i < 26 {
		return name
	}
	return letter(i/26-1) + name
}

// rounded is what spreadsheets make of a number that is too long for them: the
// digits are gone.
var rounded = regexp.MustCompile(`(?i)^[0-9]([.,][0-9]+)?E\+[0-9]+$`)

// take gives an order what stands in one cell.
func (o *Order) take(column, cell string) (err error) {
	switch {
	case cell == "" && column != "gateway.id":
	case column == "":
		return fmt.Errorf("%q has no name of a column above it", cell)
	case column == columnPassword:
		o.Password = cell
	case rounded.MatchString(cell):
		return fmt.Errorf("%s: %q: the spreadsheet has rounded a number; format the column as text, and write the number again", column, cell)
	case column == columnBoard:
		o.Board = strings.ToLower(cell)
	case column == columnReplaces:
		if o.Replaces, err = config.ReadBool(cell); err != nil {
			return fmt.Errorf("%s: %w", column, err)
		}
	default:
		o.Values[column] = cell
	}
	return nil
}
