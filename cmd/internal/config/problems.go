package config

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is one thing that is wrong in a config file.
type Problem struct {
	Line int    // 1-based; 0 when it belongs to no line
	Key  string // dotted, tables of an array counted from 0: station[1].meter.pin
	Text string // what is wrong and what would be right
}

// Error is every problem found in one config file.
type Error struct {
	File     string
	Problems []Problem
}

// Error has one line a problem: file, line, key, what would be right.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		at := e.File
		if p.Line > 0 {
			at = fmt.Sprintf("%s:%d", e.File, p.Line)
		}
		lines[i] = fmt.Sprintf("%s: %s: %s", at, p.Key, p.Text)
	}
	return strings.Join(lines, "\n")
}

// DecodeProblems turns the TOML library's errors into ours.
func DecodeProblems(err error) []Problem {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var out []Problem
		for i := range strict.Errors {
			e := &strict.Errors[i]
			line, _ := e.Position()
			out = append(out, Problem{line, strings.Join(e.Key(), "."), "unknown key; see the reference config for the ones there are"})
		}
		return out
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		line, _ := dec.Position()
		key := strings.Join(dec.Key(), ".")
		if key == "" {
			key = "syntax"
		}
		return []Problem{{line, key, plainType(strings.TrimPrefix(dec.Error(), "toml: "))}}
	}
	return []Problem{{0, "file", err.Error()}}
}

// placed finds the line of a duration without quotes: the library reports those of
// strings alone.
func placed(doc []byte, all []Problem) []Problem {
	for i, p := range all {
		if p.Line > 0 {
			continue
		}
		walk(doc, func(key string, line int, e *unstable.Node) {
			if e.Kind != unstable.KeyValue || e.Value().Kind == unstable.String || all[i].Line > 0 {
				return
			}
			if strings.Contains(p.Text, fmt.Sprintf("duration %q:", e.Value().Data)) {
				all[i].Line, all[i].Key = line, key
			}
		})
	}
	return all
}

// wrongType is how the TOML library says that a value is of another kind.
var wrongType = regexp.MustCompile(`^cannot decode TOML (\w+) into .* of type (\w+)$`)

// plainType says it without the names of Go.
func plainType(text string) string {
	m := wrongType.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	want := map[string]string{"int": "a whole number", "float64": "a number", "bool": "true or false", "string": "text in quotes"}[m[2]]
	if want == "" {
		return text
	}
	return fmt.Sprintf("%s; want %s", m[1], want)
}

// Index knows the line of each key of a TOML document.
type Index map[string]int

// IndexLines walks a document for the positions that decoding into structs loses.
// It ends where the document is no TOML.
func IndexLines(doc []byte) Index {
	ix := Index{}
	walk(doc, func(key string, line int, _ *unstable.Node) { ix[key] = line })
	return ix
}

// walk visits every table and every key, dotted and with its line.
func walk(doc []byte, visit func(key string, line int, e *unstable.Node)) {
	tables := map[string]int{} // how many tables each array has so far
	var p unstable.Parser
	p.Reset(doc)
	at := ""
	for p.NextExpression() {
		e := p.Expression()
		key, line := keyOf(&p, e, tables)
		switch e.Kind {
		case unstable.ArrayTable:
			n := tables[key]
			tables[key] = n + 1
			at = fmt.Sprintf("%s[%d]", key, n)
			visit(at, line, e)
		case unstable.Table:
			at = key
			visit(at, line, e)
		case unstable.KeyValue:
			if at != "" {
				key = at + "." + key
			}
			visit(key, line, e)
		}
	}
}

// keyOf joins a key, putting the current index behind each part that is an array of tables.
func keyOf(p *unstable.Parser, e *unstable.Node, tables map[string]int) (string, int) {
	var key string
	var line int
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		} else {
			if c, ok := tables[key]; ok {
				key = fmt.Sprintf("%s[%d]", key, c-1)
			}
			key += "."
		}
		key += string(n.Data)
	}
	return key, line
}

// Line finds the line of key, or of the nearest table around it; 0 if there is none.
func (ix Index) Line(key string) int {
	for {
		if n, ok := ix[key]; ok {
			return n
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
}

// problems collects what is wrong while a config is read.
type problems struct {
	ix   Index
	list []Problem
}

func (p *problems) add(key, format string, args ...any) {
	p.list = append(p.list, Problem{p.ix.Line(key), key, fmt.Sprintf(format, args...)})
}

// err is an *Error with all problems in the order of their lines, or nil.
func (p *problems) err(file string) error {
	if len(p.list) == 0 {
		return nil
	}
	sort.SliceStable(p.list, func(i, j int) bool { return p.list[i].Line < p.list[j].Line })
	return &Error{file, p.list}
}
