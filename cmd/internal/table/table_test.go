package table_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"badged/cmd/internal/table"
)

func named(string) error { return nil }

// read is a table as lines of "line: cell|cell".
func read(in io.Reader) (all []string, err error) {
	t, err := table.Open(in, "line ", named)
	if err != nil {
		return nil, err
	}
	all = []string{strings.Join(t.Columns, "|")}
	err = t.Each(func(line int, cells []string) error {
		all = append(all, fmt.Sprintf("%d: %s", line, strings.Join(cells, "|")))
		return nil
	})
	return all, err
}

func TestTablesOfSpreadsheets(t *testing.T) {
	for what, tc := range map[string]struct{ in, want string }{
		"commas":                     {"a,b\n1,2\n", "a|b 2: 1|2"},
		"semicolons":                 {"a;b\n1;2,5\n", "a|b 2: 1|2,5"},
		"one column":                 {"a\n1\n", "a 2: 1"},
		"a separator":                {"sep=|\na|b\n1|2\n", "a|b 3: 1|2"},
		"a separator before blanks":  {"SEP=;\r\n\r\n;;\r\na;b\r\n1;2\r\n", "a|b 5: 1|2"},
		"any line ends":              {"\n\na,b\r\n\r1,2\r\r\n3,4", "a|b 5: 1|2 7: 3|4"},
		"a mark":                     {"\ufeffa,b\n1,2\n", "a|b 2: 1|2"},
		"UTF-16":                     {"\xff\xfea\x00\t\x00b\x00\r\x00\n\x001\x00\t\x00\xe4\x00", "a|b 2: 1|ä"},
		"UTF-16, the other":          {"\xfe\xff\x00a\x00\n\x001", "a 2: 1"},
		"empty rows":                 {",,\na,b\n,\n , \n1,2\n,,,\n", "a|b 5: 1|2"},
		"empty columns":              {"A, b ,,\n1,2,,\n3,,\n", "a|b 2: 1|2 3: 3|"},
		"a column without a name":    {"a,,b\n1,,2\n", "a||b 2: 1||2"},
		"lines within a cell":        {"a,b\n\"x\r\n\r\ny\",1\n2,3\n", "a|b 2: x\n\ny|1 5: 2|3"},
		"a cell that begins like it": {"a\nsep=;\n", "a 2: sep=;"},
	} {
		for kind, in := range map[string]io.Reader{"whole": strings.NewReader(tc.in), "in bytes": iotest.OneByteReader(strings.NewReader(tc.in))} {
			got, err := read(in)
			if err != nil || strings.Join(got, " ") != tc.want {
				t.Errorf("%s, %s: got %q, %v, want %q", what, kind, got, err, tc.want)
			}
		}
	}
}

func TestTablesThatAreWrong(t *testing.T) {
	for what, tc := range map[string]struct{ in, want string }{
		"nothing":                {"\n;;\n", "EOF"},
		"only a separator":       {"sep=;\n", "EOF"},
		"a separator of letters": {"\n\nsep=x\na\n", `line 3: it says "sep=x"`},
		"a name twice":           {"a;b;A\n", `line 1: column C: "A": stands there twice`},
		"a cell too many":        {"a,b\n1,2\n1,2,3\n", "line 3: wrong number of fields: 3, the header has 2"},
		"a cell too few":         {"a,b\n1\n", "line 2: wrong number of fields: 1"},
		"no name above":          {"a,,b\n1,x,2\n", `line 2: column B: "x" has no name of a column above it`},
		"column 28":              {"a" + strings.Repeat(",", 27) + "b\n1" + strings.Repeat(",", 27) + "2\n1" + strings.Repeat(",", 26) + "x,2\n", "line 3: column AA: "},
		"a lonely quote":         {"\na,b\n1,2\"3\n", `line 3: bare " in non-quoted-field in the row that begins in line 3`},
		"an open quote":          {"sep=,\n\na\n\"x\ny\n", `line 5: extraneous or missing " in quoted-field in the row that begins in line 4`},
		"Latin-1":                {"a\nx\nM\xfcller\n", "line 3: not plain text in UTF-8"},
		"Latin-1 after a mark":   {"\ufeffa\nM\xfcller\n", "line 2: not plain text in UTF-8"},
		"UTF-16 without a mark":  {"a\x00\n\x00", "line 1: not plain text in UTF-8"},
		"half a character":       {"\xff\xfea\x00\n\x00\x00\xd8x\x00", "line 2: not plain text in UTF-8"},
	} {
		if _, err := read(strings.NewReader(tc.in)); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", what, err, tc.want)
		}
	}
	broken := errors.New("disk")
	if _, err := read(io.MultiReader(strings.NewReader("a,b\n1,2\n"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the reader", err)
	}
}

// A device without an end, and a cell without one, are refused and not read; blank
// lines and short rows of any number are.
func TestRowsHaveAnEnd(t *testing.T) {
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	for what, tc := range map[string]struct {
		in   io.Reader
		want string
	}{
		"a line":             {endless("x"), "line 1: a row of more than 64 KiB begins here"},
		"a line behind rows": {io.MultiReader(strings.NewReader("a\n1\n\n"), zero), "line 4: a row of more than 64 KiB begins here"},
		"an open quote":      {io.MultiReader(strings.NewReader("a\n1\n\n\"2"), endless("\nabc")), "line 4: a row of more than 64 KiB begins here"},
		"lines of nothing":   {io.MultiReader(strings.NewReader("a\n\""), endless("\n")), "line 2: a row of more than 64 KiB begins here"},
	} {
		if _, err := read(tc.in); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", what, err, tc.want)
		}
	}
	blank := strings.Repeat("\n", 200<<10)
	got, err := read(strings.NewReader(blank + "a\n" + blank + "1\n" + strings.Repeat(strings.Repeat("x", 60<<10)+"\n", 3)))
	if err != nil || len(got) != 5 || got[1] != "409602: 1" {
		t.Errorf("got %d rows, %v, want all of them", len(got), err)
	}
}

// endless is a reader of one text over and over.
type endless string

func (e endless) Read(p []byte) (n int, err error) {
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func TestRounded(t *testing.T) {
	for cell, want := range map[string]bool{
		"4,00E+02": true, "4.00E+02": true, "1E+15": true, "1,2345e+71": true, "+41 91 000 00 00": false, "04E10234": false, "12,5": false, "a+b": false, "": false,
	} {
		if err := table.Rounded(cell); (err != nil) != want {
			t.Errorf("%q: got %v, want an error: %t", cell, err, want)
		}
	}
}

// FuzzTable reads anything: rows have the length of the header, and what comes out
// comes out again from a table that a program writes of it.
func FuzzTable(f *testing.F) {
	f.Add([]byte("sep=;\r\n uid ;Account;services\r\n04A1B2C3;\"Rossi; Zoë\";\"laundry;charging\"\r\n;;\r\n"))
	f.Add([]byte("\xff\xfeu\x00i\x00d\x00\t\x00b\x00\r\x00\n\x001\x00\t\x002\x00"))
	f.Add([]byte("\ufeffgateway.id,password\rgw-1,\"a\"\"b\rc\"\r"))
	f.Add([]byte("a,,\"\n\"\n\"1\",,\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		first, err := rows(t, strings.NewReader(string(in)))
		if err != nil || len(first[0]) == 0 {
			return
		}
		var out strings.Builder
		w := csv.NewWriter(&out)
		w.Comma = []rune(",;\t")[len(in)%3]
		fmt.Fprintf(&out, "sep=%c\n", w.Comma)
		if err := w.WriteAll(first); err != nil {
			t.Fatal(err)
		}
		again, err := rows(t, strings.NewReader(out.String()))
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("got %q, %v of\n%q\nwant %q", again, err, out.String(), first)
		}
	})
}

// rows is the header and what follows it.
func rows(t *testing.T, in io.Reader) (all [][]string, err error) {
	tab, err := table.Open(in, "line ", named)
	if err != nil {
		return nil, err
	}
	all = append(all, tab.Columns)
	err = tab.Each(func(line int, cells []string) error {
		if len(cells) != len(tab.Columns) || line < 1 {
			t.Errorf("got %q in line %d for %q", cells, line, tab.Columns)
		}
		all = append(all, append([]string(nil), cells...))
		return nil
	})
	return all, err
}
