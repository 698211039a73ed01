package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Set gives a key of a config file a value as people write it, without quotes, and
// leaves all else in the file as it stands: gateway.id, station[0].relay. A key
// that is not there yet goes below its table's header, and a table of its own at
// the end.
func Set(doc []byte, key, value string) ([]byte, error) {
	raw, err := literal(key, value)
	if err != nil {
		return nil, err
	}
	return SetRaw(doc, key, raw)
}

// SetRaw is Set of any TOML document and a value as TOML writes it.
func SetRaw(doc []byte, key, raw string) ([]byte, error) {
	if at, ok := find(doc, key); ok {
		return splice(doc, int(at.Offset), int(at.Length), raw), nil
	}
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return nil, fmt.Errorf("%s: want a key in a table, such as gateway.id", key)
	}
	table, name := key[:i], key[i+1:]
	if line, ok := IndexLines(doc)[table]; ok {
		return splice(doc, lineEnd(doc, line), 0, name+" = "+raw+"\n"), nil
	}
	if strings.Contains(table, "[") {
		return nil, fmt.Errorf("%s: the file has no %s", key, table)
	}
	return fmt.Appendf(bytes.TrimRight(doc, "\n"), "\n\n[%s]\n%s = %s\n", table, name, raw), nil
}

func splice(doc []byte, at, length int, text string) []byte {
	return append(append(append([]byte{}, doc[:at]...), text...), doc[at+length:]...)
}

// lineEnd is the offset behind line n, counted from 1.
func lineEnd(doc []byte, n int) int {
	at := 0
	for range n {
		i := bytes.IndexByte(doc[at:], '\n')
		if i < 0 {
			return len(doc)
		}
		at += i + 1
	}
	return at
}

// find is where the value of key stands, if it stands in a line of its own.
func find(doc []byte, key string) (at unstable.Range, ok bool) {
	walk(doc, func(k string, _ int, e *unstable.Node) {
		if k == key && e.Kind == unstable.KeyValue {
			at, ok = e.Value().Raw, true
		}
	})
	return at, ok
}

var indexed = regexp.MustCompile(`^([^\[\]]+)\[[0-9]+\]$`)

// typeOf is the type of a key's value in the file.
func typeOf(key string) (t reflect.Type, ok bool) {
	t = reflect.TypeFor[file]()
	for part := range strings.SplitSeq(key, ".") {
		many := indexed.FindStringSubmatch(part)
		if many != nil {
			part = many[1]
		}
		f, ok := fieldOf(t, part)
		if !ok || (f.Kind() == reflect.Slice) != (many != nil) {
			return nil, false
		}
		if t = f; many != nil {
			t = f.Elem()
		}
	}
	return t, true
}

// IsKey tells whether a config file may have a value under the key.
func IsKey(key string) bool {
	t, ok := typeOf(key)
	return ok && (t.Kind() != reflect.Struct || t == reflect.TypeFor[duration]())
}

// Alike lists keys that somebody may mean who writes word: those of that name in
// some table, and those that differ in dots and brackets alone.
func Alike(word string) (out []string) {
	letters := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	var walk func(t reflect.Type, at string)
	walk = func(t reflect.Type, at string) {
		for f := range t.Fields() {
			name, kind := f.Tag.Get("toml"), f.Type
			if kind.Kind() == reflect.Slice {
				name, kind = name+"[0]", kind.Elem()
			}
			if at != "" {
				name = at + "." + name
			}
			switch last := name[strings.LastIndexByte(name, '.')+1:]; {
			case kind.Kind() == reflect.Struct && kind != reflect.TypeFor[duration]():
				walk(kind, name)
			case letters(word) == letters(last), letters(word) == letters(name):
				out = append(out, name)
			}
		}
	}
	if letters(word) != "" {
		walk(reflect.TypeFor[file](), "")
	}
	return out
}

// truths are the words of spreadsheets in the languages of the panel, which write
// their own for a true that somebody has typed.
var truths = map[string]bool{
	"true": true, "1": true, "wahr": true, "vrai": true, "vero": true,
	"false": false, "0": false, "falsch": false, "faux": false, "falso": false,
}

// ReadBool reads a truth as people and spreadsheets write it.
func ReadBool(s string) (bool, error) {
	b, ok := truths[strings.ToLower(s)]
	if !ok {
		return false, fmt.Errorf("%q: want true or false", s)
	}
	return b, nil
}

// literal writes value as the type of key wants it.
func literal(key, value string) (string, error) {
	t, ok := typeOf(key)
	if !ok {
		return "", fmt.Errorf("%s: no such key; see the reference config for the ones there are", key)
	}
	switch t.Kind() {
	case reflect.Bool:
		b, err := ReadBool(value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		return strconv.FormatBool(b), nil
	case reflect.Int, reflect.Float64:
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return "", fmt.Errorf("%s: %q: want a number, with a point and not a comma in it if it is no whole one", key, value)
		}
		return value, nil
	case reflect.String:
		return Quote(value), nil
	}
	if t == reflect.TypeFor[duration]() {
		return Quote(value), nil
	}
	return "", fmt.Errorf("%s: a table; want one of its keys", key)
}

// fieldOf is the type of a table's key, less its pointer.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	for f := range t.Fields() {
		if f.Tag.Get("toml") != name {
			continue
		}
		if f.Type.Kind() == reflect.Pointer {
			return f.Type.Elem(), true
		}
		return f.Type, true
	}
	return nil, false
}

// Quote writes s as a TOML string in one line.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
