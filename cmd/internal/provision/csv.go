package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
	"badged/cmd/internal/table"
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
// template's value. Package table has what is taken for a table. name is where the
// rows stand, for people.
func ReadCSV(r io.Reader, name, dir string) ([]Order, error) {
	b, err := durable.ReadAll(r, name)
	if err != nil {
		return nil, err
	}
	t, err := table.Open(bytes.NewReader(b), name+":", checkColumn)
	if err == io.EOF {
		err = fmt.Errorf("%s: empty; want a header with a column gateway.id, and a row for each gateway", name)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.Columns, "gateway.id") {
		return nil, fmt.Errorf("%s: no column gateway.id, only %q; want a header of keys of badged.toml, with commas, semicolons or tabs between", name, t.Columns)
	}
	var out []Order
	err = t.Each(func(line int, cells []string) error {
		o := Order{From: fmt.Sprintf("%s:%d", name, line), Values: map[string]string{}, Dir: dir}
		for i, column := range t.Columns {
			if err := o.take(column, cells[i]); err != nil {
				return table.Cell(i, err)
			}
		}
		out = append(out, o)
		return nil
	})
	if len(out) == 0 && err == nil {
		err = fmt.Errorf("%s: no gateway in it, only the header; want a row for each", name)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func checkColumn(name string) error {
	if isColumn(name) {
		return nil
	}
	return errors.New("no such key of badged.toml, and none of password, board and replaces" + meant(name))
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

// take gives an order what stands in one cell.
func (o *Order) take(column, cell string) (err error) {
	switch {
	case cell == "" && column != "gateway.id":
	case column == columnPassword:
		o.Password = cell
	case table.Rounded(cell) != nil:
		return fmt.Errorf("%s: %w", column, table.Rounded(cell))
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
