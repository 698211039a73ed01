package provision

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
)

// format is the only one there is.
const format = 1

// File is a provisioning file: a badged.toml, and after it the table [provision]
// with the content of the files that it names.
type File struct {
	Name string // for people
	Doc  []byte // all of it, without what an editor put before it
	Table

	head  int          // where [provision] begins
	lines config.Index // where each key stands
}

// Table is [provision].
type Table struct {
	Format int    `toml:"format"`
	Made   string `toml:"made"` // when, RFC 3339; for people
	// Board is the serial number of the board that may use the file: the office's
	// word, or what a board left there that has used it. "" is any.
	Board string `toml:"board"`
	// Replaces says that the board which had this identity before is gone.
	Replaces bool              `toml:"replaces"`
	Files    map[string]string `toml:"files"`
}

// Parse reads a provisioning file by itself; Stage checks what it says. What is
// wrong comes back as a *config.Error.
func Parse(doc []byte, name string) (*File, error) {
	wrong := func(p ...config.Problem) error { return &config.Error{File: name, Problems: p} }
	if len(doc) > durable.MaxFile {
		return nil, wrong(config.Problem{Key: "file", Text: "larger than 1 MiB; want the file as badgectl provision made it"})
	}
	doc, ok := plainText(doc)
	if !ok {
		return nil, wrong(config.Problem{Key: "file", Text: "not plain text in UTF-8; copy the file again as it is, without opening and saving it"})
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, wrong(config.Problem{Key: "file", Text: "empty; copy it again, and wait until the copy is done before the card comes out"})
	}
	if err := toml.Unmarshal(doc, &map[string]any{}); err != nil {
		all := config.DecodeProblems(err)
		all[0].Text += "; if nobody has edited the file, only a part of it has arrived: copy it again"
		return nil, wrong(all...)
	}
	f := &File{Name: name, Doc: doc, lines: config.IndexLines(doc)}
	line, ok := f.lines["provision"]
	if !ok {
		return nil, wrong(config.Problem{Key: "provision", Text: "missing; want the file as badgectl provision made it, with [provision] after the configuration. If nobody has edited it, only a part of it has arrived: copy it again"})
	}
	f.head = offset(doc, line)
	// Empty lines in its place keep the numbers of the lines.
	tail := append(bytes.Repeat([]byte("\n"), line-1), doc[f.head:]...)
	var raw struct {
		Provision Table `toml:"provision"`
	}
	if err := toml.NewDecoder(bytes.NewReader(tail)).DisallowUnknownFields().Decode(&raw); err != nil {
		return nil, wrong(afterProvision(config.DecodeProblems(err))...)
	}
	f.Table = raw.Provision
	return f, f.err(f.check())
}

// afterProvision says what would be right in [provision], and what is wrong with
// keys that would be right further up.
func afterProvision(all []config.Problem) []config.Problem {
	for i, p := range all {
		all[i].Text = strings.Replace(p.Text, "see the reference config for the ones there are", "want format, made, board, replaces and files", 1)
		if !strings.HasPrefix(p.Key, "provision") {
			all[i].Text = "unknown key after [provision]; want [provision] and [provision.files] at the end of the file, and nothing else there"
		}
	}
	return all
}

// offset is where line n begins, counted from 1.
func offset(doc []byte, n int) int {
	at := 0
	for range n - 1 {
		at += bytes.IndexByte(doc[at:], '\n') + 1
	}
	return at
}

// Config is the part that becomes badged.toml.
func (f *File) Config() []byte { return f.Doc[:f.head] }

func (f *File) problem(key, format string, args ...any) config.Problem {
	return config.Problem{Line: f.lines.Line(key), Key: key, Text: fmt.Sprintf(format, args...)}
}

// err is what is wrong with the file, in the order of its lines.
func (f *File) err(all []config.Problem) error {
	if len(all) == 0 {
		return nil
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Line < all[j].Line })
	return &config.Error{File: f.Name, Problems: all}
}

func (f *File) check() (all []config.Problem) {
	if f.Format != format {
		all = append(all, f.problem("provision.format", "%d: want %d; this badged knows no other", f.Format, format))
	}
	if _, err := time.Parse(time.RFC3339, f.Made); err != nil {
		all = append(all, f.problem("provision.made", "%q: want a time, such as 2026-12-31T12:00:00Z", f.Made))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Files)) {
		key := "provision.files." + name
		if name == configName || name == recordName || name != filepath.Base(name) || strings.HasPrefix(name, ".") || len(name) > 100 {
			all = append(all, f.problem(key, "%q cannot be the name of a file here; want a plain one, such as ca.pem", name))
		}
	}
	return all
}

// checkConfig wants what only holds for a config that is provisioned.
func (f *File) checkConfig(c config.Config, dir string) (all []config.Problem) {
	if state := filepath.Clean(c.State); state != stateFolder && !strings.HasPrefix(state, stateFolder+"/") {
		all = append(all, c.Problem("gateway.state", "%q: want %q, the only folder that the installed gateway may write", c.State, stateFolder))
	}
	used := map[string]bool{}
	for _, n := range c.Files() {
		name := filepath.Base(n.Path)
		used[name] = true
		if _, ok := f.Files[name]; !ok || n.Path != filepath.Join(dir, name) {
			all = append(all, c.Problem(n.Key, "%s is not in the file; want its content under [provision.files]", strings.TrimPrefix(n.Path, dir+"/")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Files)) {
		if !used[name] {
			all = append(all, f.problem("provision.files."+name, "no key of the configuration names it; want it named, or gone"))
		}
	}
	return all
}

// problems takes an error of config apart. Names of the folder that the files are
// checked in mean nothing to anybody.
func (f *File) problems(err error, dir string) ([]config.Problem, error) {
	var bad *config.Error
	if err == nil {
		return nil, nil
	}
	if !errors.As(err, &bad) {
		return nil, err
	}
	for i := range bad.Problems {
		bad.Problems[i].Text = strings.ReplaceAll(bad.Problems[i].Text, dir+"/", "")
	}
	return bad.Problems, nil
}
