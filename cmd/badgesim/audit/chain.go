package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Record is a line of a backend's store.
type Record struct {
	Gateway string          `json:"gateway"`
	Ledger  string          `json:"ledger"`
	Seq     uint64          `json:"seq"`
	Hash    string          `json:"hash"`
	Record  json.RawMessage `json:"record"`
}

// ReadStore reads every ledger of a store's folder, GATEWAY/LEDGER.jsonl.
func ReadStore(dir string) ([]Record, error) {
	paths, err := fs.Glob(os.DirFS(dir), "*/*.jsonl")
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, path := range paths {
		b, err := fs.ReadFile(os.DirFS(dir), path)
		if err != nil {
			return nil, err
		}
		in := bufio.NewScanner(bytes.NewReader(b))
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			var r Record
			if err := json.Unmarshal(in.Bytes(), &r); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			r.Record = bytes.Clone(r.Record)
			all = append(all, r)
		}
	}
	return all, nil
}

// chained is what the chain is made of in every record.
type chained struct {
	Type   string `json:"type"`
	Ledger string `json:"ledger"`
	Seq    uint64 `json:"seq"`
	Prev   string `json:"prev"`

	Gateway string `json:"gateway"` // of LedgerOpened, as all below
	Before  string `json:"before"`
	Why     string `json:"why"`
}

// chain follows every ledger from its first record to its last, and returns the
// records in that order, each once.
func (a *audit) chain(records []Record) []Record {
	ledgers := map[string]map[uint64]Record{}
	for _, r := range records {
		if r.Gateway != a.site.Gateway {
			a.find("chain", "a record is of gateway %q, not %q", r.Gateway, a.site.Gateway)
		}
		if ledgers[r.Ledger] == nil {
			ledgers[r.Ledger] = map[uint64]Record{}
		}
		if was, ok := ledgers[r.Ledger][r.Seq]; ok && was.Hash != r.Hash {
			a.find("chain", "ledger %s forks at record %d", r.Ledger, r.Seq)
			continue
		}
		ledgers[r.Ledger][r.Seq] = r
	}
	a.figures.Ledgers = len(ledgers)
	var out []Record
	opened := map[string]chained{}
	for _, id := range slices.Sorted(maps.Keys(ledgers)) {
		out = append(out, a.follow(id, ledgers[id], opened)...)
	}
	a.succession(opened)
	return out
}

// follow walks one ledger.
func (a *audit) follow(id string, records map[uint64]Record, opened map[string]chained) (out []Record) {
	prev := strings.Repeat("0", 64)
	for want, seq := range slices.Sorted(maps.Keys(records)) {
		r := records[seq]
		if seq != uint64(want)+1 {
			a.find("chain", "ledger %s has record %d where %d should be", id, seq, want+1)
			return out
		}
		var c chained
		text, err := canonical(r.Record)
		if err == nil {
			err = json.Unmarshal(r.Record, &c)
		}
		sum := sha256.Sum256(text)
		switch {
		case err != nil:
			a.find("chain", "ledger %s, record %d: %v", id, seq, err)
		case hex.EncodeToString(sum[:]) != r.Hash:
			a.find("chain", "ledger %s, record %d has another hash than it says", id, seq)
		case c.Ledger != id || c.Seq != seq:
			a.find("chain", "ledger %s, record %d says that it is %d of %s", id, seq, c.Seq, c.Ledger)
		case c.Prev != prev:
			a.find("chain", "ledger %s, record %d does not follow the one before", id, seq)
		case (seq == 1) != (c.Type == "LedgerOpened"):
			a.find("chain", "ledger %s, record %d is %s", id, seq, c.Type)
		}
		if seq == 1 {
			opened[id] = c
		}
		prev = r.Hash
		out = append(out, r)
	}
	return out
}

// succession wants the ledgers in one line, each but the last followed by one.
func (a *audit) succession(opened map[string]chained) {
	after := map[string]string{}
	var first []string
	for _, id := range slices.Sorted(maps.Keys(opened)) {
		switch c := opened[id]; {
		case c.Gateway != a.site.Gateway:
			a.find("chain", "ledger %s was opened by gateway %q", id, c.Gateway)
		case c.Before == "":
			first = append(first, id)
		case opened[c.Before].Type == "":
			a.find("chain", "ledger %s follows %s, of which nothing came", id, c.Before)
		case after[c.Before] != "":
			a.find("chain", "ledgers %s and %s both follow %s", after[c.Before], id, c.Before)
		default:
			after[c.Before] = id
		}
	}
	if len(first) != 1 {
		a.find("chain", "got %d ledgers that follow none (%s), want one", len(first), list(first))
	}
}

// canonical is JSON by RFC 8785, of objects, arrays, strings, integers and
// booleans: a record has nothing else.
func canonical(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return appendCanonical(nil, v)
}

func appendCanonical(b []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case map[string]any:
		return appendObject(b, v)
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendCanonical(b, x); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case string:
		return appendString(b, v), nil
	case bool:
		return fmt.Append(b, v), nil
	case json.Number:
		n, err := v.Int64()
		if err != nil || n <= -1<<53 || n >= 1<<53 {
			return nil, fmt.Errorf("the number %s is none that a record may have", v)
		}
		return fmt.Append(b, n), nil
	}
	return nil, fmt.Errorf("%v is nothing that a record may have", v)
}

func appendObject(b []byte, v map[string]any) (_ []byte, err error) {
	names := slices.SortedFunc(maps.Keys(v), func(x, y string) int { return cmp.Compare(x, y) })
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		if b, err = appendCanonical(b, v[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case strings.IndexByte("\b\t\n\f\r", c) >= 0:
			b = append(b, '\\', "btn fr"[c-'\b'])
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(b, '"')
}
