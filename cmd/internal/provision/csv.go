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
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.TrimLeadingSpace = true
	if first, _, _ := bytes.Cut(b, []byte("\n")); bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		c.Comma = ';' // spreadsheets of many countries
	}
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: header with a column gateway.id: %w", name, err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // spreadsheets put it there
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
		if slices.Contains(header[:i], header[i]) {
			return nil, fmt.Errorf("%s:1: column %q stands there twice", name, header[i])
		}
	}
	if !slices.Contains(header, "gateway.id") {
		return nil, fmt.Errorf("%s:1: no column gateway.id", name)
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
