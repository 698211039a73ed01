package uplink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth is enough for every message of the contract, with room to grow.
const maxDepth = 16

// unmarshal reads one JSON value into v. It refuses what parsers disagree on:
// invalid UTF-8, members that differ in case only or not at all, and deep nesting.
// Unknown members are ignored.
func unmarshal(b []byte, v any) error {
	if err := checkJSON(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// level is an object or array that checkJSON is in.
type level struct {
	seen  map[string]bool // members; nil in an array
	value bool            // a member's value comes next
}

func checkJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("invalid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var open []level
	for {
		t, err := d.Token()
		if err == io.EOF && len(open) == 0 {
			return nil // json.Unmarshal sees to there being exactly one value
		}
		if err != nil {
			return err
		}
		if open, err = step(open, t); err != nil {
			return err
		}
	}
}

func step(open []level, t json.Token) ([]level, error) {
	if t == json.Delim('}') || t == json.Delim(']') {
		return open[:len(open)-1], nil
	}
	if n := len(open); n > 0 && open[n-1].seen != nil {
		top := &open[n-1]
		if !top.value {
			key := fold(t.(string))
			if top.seen[key] {
				return nil, fmt.Errorf("member %.40q stands twice in an object", t)
			}
			top.seen[key], top.value = true, true
			return open, nil
		}
		top.value = false
	}
	switch {
	case t != json.Delim('{') && t != json.Delim('['):
		return open, nil
	case len(open) == maxDepth:
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	case t == json.Delim('{'):
		return append(open, level{seen: make(map[string]bool)}), nil
	}
	return append(open, level{}), nil
}

// fold maps names that encoding/json takes for one another to one name.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// require tells which of the members is missing or null.
func require(b []byte, members ...string) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for _, name := range members {
		if v, ok := m[name]; !ok || string(v) == "null" {
			return fmt.Errorf("member %q is missing", name)
		}
	}
	return nil
}
