package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"badged/cmd/internal/durable"
)

// Problem is one thing that is wrong in a config file.
type Problem struct {
	Line int    // 1-based; 0 when it belongs to no line
	Key  string // dotted, tables of an array counted from 0: station[1].meter.pin
	Text string // what is wrong and what would be right
}

// Error is every problem found in one config file, all of which stay until
// somebody mends them.
type Error struct {
	File     string
	Problems []Problem
	cause    error // why the file itself cannot be read, else nil
}

// Unwrap is why the file itself cannot be read, nil if it can.
func (e *Error) Unwrap() error { return e.cause }

// Error has one line a problem: file, line, key, what would be right.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.in(e.File).Error()
	}
	return strings.Join(lines, "\n")
}

// in is the problem as an error, in a line of its own.
func (p Problem) in(file string) error {
	if p.Line > 0 {
		file = fmt.Sprintf("%s:%d", file, p.Line)
	}
	return fmt.Errorf("%s: %s: %s", file, p.Key, p.Text)
}

// wholly is an error of the file as a whole.
func wholly(path string, cause error, text string) error {
	return &Error{path, []Problem{{0, "file", text}}, cause}
}

// unreadable says in words why a file cannot be read, and what to do about it.
func unreadable(path string, err error) error {
	switch {
	case !durable.Lasting(err):
		return fmt.Errorf("read config: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return wholly(path, err, "there is no such file; name the one that is there. A board gets its own from a provisioning file: badgectl provision apply --help")
	case errors.Is(err, durable.ErrLarge):
		return wholly(path, err, durable.ErrLarge.Error())
	}
	return wholly(path, err, reason(err)+"; "+readable(err))
}

// reason is an error without the name of the file, which stands before it already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

// readable is what to do about a file that is there and cannot be read.
func readable(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "the user that runs this must be able to read it and to enter its folder: on a board chgrp badged, chmod 640 the file and 750 the folder"
	}
	return "want the file itself there, not a folder or a device"
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
	return &Error{File: file, Problems: p.list}
}
