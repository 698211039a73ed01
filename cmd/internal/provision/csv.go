package provision

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Columns of a CSV that are no keys of badged.toml.
const (
	columnPassword = "password"
	columnBoard    = "board"
	columnReplaces = "replaces"
)

// ReadCSV reads orders: a header of keys of badged.toml, such as gateway.id and
// station[0].relay, of which gateway.id must be there, and beside them password,
// board and replaces; then a row for each gateway. An empty cell leaves the
// template's value. name is where the rows stand, for people.
func ReadCSV(r io.Reader, name, dir string) ([]Order, error) {
	b, err := readTable(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.Comma, c.FieldsPerRecord = comma(b), -1
	c.TrimLeadingSpace = c.Comma != '\t' // else empty cells would go
	header, err := c.Read()
	if err == io.EOF {
		return nil, fmt.Errorf("%s: empty; want a header with a column gateway.id, and a row for each gateway", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: header with a column gateway.id: %w", name, err)
	}
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
		if slices.Contains(header[:i], header[i]) {
			return nil, fmt.Errorf("%s:1: column %q stands there twice", name, header[i])
		}
	}
	if !slices.Contains(header, "gateway.id") {
		return nil, fmt.Errorf("%s:1: no column gateway.id, only %q; want a header of keys of badged.toml, with commas, semicolons or tabs between", name, header)
	}
	var out []Order
	var wrong error
	for {
		row, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := c.FieldPos(0)
		o := Order{From: fmt.Sprintf("%s:%d", name, line), Values: map[string]string{}, Dir: dir}
		if len(row) != len(header) {
			wrong = errors.Join(wrong, fmt.Errorf("%s: wrong number of fields: %d, the header has %d; is a comma missing, or one too many, in a cell without quotes?", o.From, len(row), len(header)))
			continue
		}
		for i, column := range header {
			if err := o.take(column, strings.TrimSpace(row[i])); err != nil {
				wrong = errors.Join(wrong, said(o.From, err))
			}
		}
		out = append(out, o)
	}
	if len(out) == 0 && wrong == nil {
		wrong = fmt.Errorf("%s: no gateway in it", name)
	}
	return out, wrong
}

// readTable reads what a spreadsheet has saved as text.
func readTable(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFile {
		return nil, errors.New("larger than 1 MiB; is it the right file? Split it")
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return nil, errors.New("not plain text in UTF-8; save it from the spreadsheet as CSV UTF-8")
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // spreadsheets put it there
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\r"), []byte("\n")), nil // of old Macs
}

// comma is what separates cells: spreadsheets of many countries put semicolons.
func comma(table []byte) rune {
	header, _, _ := bytes.Cut(table, []byte("\n"))
	most := ','
	for _, c := range ";\t" {
		if bytes.Count(header, []byte(string(c))) > bytes.Count(header, []byte(string(most))) {
			most = c
		}
	}
	return most
}

// take gives an order what stands in one cell.
func (o *Order) take(column, cell string) (err error) {
	switch {
	case cell == "" && column != "gateway.id":
	case column == columnPassword:
		o.Password = cell
	case column == columnBoard:
		o.Board = cell
	case column == columnReplaces:
		if o.Replaces, err = strconv.ParseBool(cell); err != nil {
			return fmt.Errorf("%s: %q: want true or false", column, cell)
		}
	default:
		o.Values[column] = cell
	}
	return nil
}
