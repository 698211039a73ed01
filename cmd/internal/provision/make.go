package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
)

// Maker makes provisioning files from what the gateways of a site have in common.
type Maker struct {
	// Template is a badged.toml; files that it names are beside it.
	Template string
	// Authority signs a certificate for every gateway that has none; nil for none.
	Authority *Authority
	// Head is the newest version of a list, as list.head has it, for gateways that
	// have none; nil leaves it at that.
	Head func(list string) (string, error)
	Now  time.Time
}

// Order is what one gateway has for its own.
type Order struct {
	From string // where it stands, for people: gateways.csv:3
	// Values are keys of badged.toml and what they are, over the template. Files
	// among them are in Dir.
	Values map[string]string
	Dir    string
	// Password goes to the file that broker.password_file names; "" for none.
	Password string
	Board    string // see Table
	Replaces bool
}

// Made is a provisioning file that passes the checks of the board.
type Made struct {
	ID    string
	Doc   []byte
	Cert  []byte   // PEM, where the Authority signed one
	Notes []string // what badged --check notes
	site  string
	key   string   // of the broker, "" for none
	posts []string // ids of the stations
}

// Names of files that are made here.
const (
	certName     = "gateway.pem"
	keyName      = "gateway.key"
	passwordName = "password"
)

// Make makes all files or none: every problem of every order comes back.
func (m Maker) Make(orders []Order) ([]Made, error) {
	template, err := m.template()
	if err != nil {
		return nil, err
	}
	var all []Made
	var wrong gathered
	seen := map[string]string{}
	for _, o := range orders {
		made, err := m.make(template, o)
		if err == nil {
			err = made.unlike(seen, o.From)
		}
		if err != nil {
			wrong.add(o.From, strings.Split(plain(err.Error()), "\n")...)
		}
		all = append(all, made)
	}
	if lines := wrong.lines(0); lines != nil {
		return nil, errors.New(strings.Join(lines, "\n"))
	}
	return all, nil
}

// once wants what to come but once; key is where another would be given.
func once(seen map[string]string, what, from, key string) error {
	if before, ok := seen[what]; ok {
		return fmt.Errorf("%s is in %s already; want another in %s", what, before, key)
	}
	seen[what] = from
	return nil
}

// unlike wants what tells gateways apart to be so: ids, keys, and the ids of
// stations in their site.
func (m Made) unlike(seen map[string]string, from string) error {
	err := once(seen, "gateway "+m.ID, from, "gateway.id")
	if before, ok := seen[m.key]; ok && m.key != "" {
		err = errors.Join(err, fmt.Errorf("the key of broker.key is in %s already; want one of its own", before))
	}
	seen[m.key] = from
	for i, id := range m.posts {
		err = errors.Join(err, once(seen, "station "+id+" of site "+m.site, from, fmt.Sprintf("station[%d].id", i)))
	}
	return err
}

// draft is a file on its way: the config, and the files that go with it.
type draft struct {
	doc   []byte
	files map[string][]byte
}

func (d *draft) set(key, value string) (err error) {
	d.doc, err = config.Set(d.doc, key, value)
	return err
}

// template reads what all gateways have in common. What no order can mend, an unknown
// key or a value of another kind, is told of it alone.
func (m Maker) template() ([]byte, error) {
	b, err := durable.ReadFile(m.Template)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	doc, ok := plainText(b)
	if !ok {
		return nil, fmt.Errorf("template: %s is not plain text in UTF-8; save it as that", m.Template)
	}
	if c, err := config.Parse(bytes.NewReader(doc), m.Template); c.Broker.URL == nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return doc, nil
}

// wrong is what is wrong with the template and an order's values over it: a value of
// the order's is none of the template's, and has moved the lines below it.
func (m Maker) wrong(template []byte, o Order, err error) error {
	var bad *config.Error
	if !errors.As(err, &bad) {
		return err
	}
	lines := config.IndexLines(template)
	var all []error
	for _, p := range bad.Problems {
		if _, own := o.Values[p.Key]; own {
			all = append(all, fmt.Errorf("%s: %s", p.Key, p.Text))
			continue
		}
		p.Line = lines.Line(p.Key)
		all = append(all, &config.Error{File: m.Template, Problems: []config.Problem{p}})
	}
	return errors.Join(all...)
}

func (m Maker) make(template []byte, o Order) (made Made, err error) {
	d := &draft{doc: template, files: map[string][]byte{}}
	for _, key := range slices.Sorted(maps.Keys(o.Values)) {
		if err := d.set(key, o.file(key)); err != nil {
			return made, err
		}
	}
	if made.Cert, err = m.secrets(d, o); err != nil {
		return made, err
	}
	c, err := config.Parse(bytes.NewReader(d.doc), m.Template)
	if err != nil {
		return made, m.wrong(template, o, err)
	}
	if m.Head != nil && c.List.Head == (config.Head{}) {
		head, err := m.Head(c.List.Name)
		if err != nil {
			return made, err
		}
		if err := d.set("list.head", head); err != nil {
			return made, err
		}
	}
	if err := d.collect(c); err != nil {
		return made, err
	}
	made.ID, made.site, made.Doc = c.ID, c.Site, d.compose(o, m.Now)
	made.key = string(d.files[filepath.Base(c.Broker.Key)])
	made.Notes, err = Check(made.Doc, FileName, m.Now)
	if made.Cert != nil && m.Authority.end(m.Now).Before(m.Now.Add(m.Authority.Valid)) {
		end := m.Authority.end(m.Now)
		made.Notes = append(made.Notes, fmt.Sprintf("its certificate ends on %s with the authority's, in %d days: no broker lets it in from then on",
			end.Format(time.DateOnly), int(end.Sub(m.Now).Hours()/24)))
	}
	for i, s := range c.Stations {
		made.posts = append(made.posts, s.ID)
		for n := range made.Notes { // one note for all gateways, whatever their stations are called
			made.Notes[n] = strings.ReplaceAll(made.Notes[n], "station "+s.ID+":", fmt.Sprintf("station[%d]:", i))
		}
	}
	return made, m.wrong(template, o, err)
}

// file is a value; one that names a file of the order's own says where it is.
func (o Order) file(key string) string {
	v := o.Values[key]
	if config.NamesFile(key) && !filepath.IsAbs(v) {
		if dir, err := filepath.Abs(o.Dir); err == nil {
			return filepath.Join(dir, v)
		}
	}
	return v
}

// secrets makes what the order leaves to be made: certificate, key, password.
func (m Maker) secrets(d *draft, o Order) (cert []byte, err error) {
	if o.Password != "" {
		d.files[passwordName] = []byte(o.Password + "\n")
		if err := d.set("broker.password_file", passwordName); err != nil {
			return nil, err
		}
	}
	if m.Authority == nil || o.Values["broker.cert"] != "" {
		return nil, nil
	}
	// The template's own, if it has one, would be the same for all.
	c, err := config.Parse(bytes.NewReader(d.doc), m.Template)
	if c.ID == "" {
		return nil, err
	}
	cert, key, err := m.Authority.issue(c.ID, m.Now)
	if err != nil {
		return nil, err
	}
	d.files[certName], d.files[keyName] = cert, key
	return cert, errors.Join(d.set("broker.cert", certName), d.set("broker.key", keyName))
}

// collect reads the files that the config names and has it name them plainly.
func (d *draft) collect(c config.Config) error {
	var wrong error
	from := map[string]string{}
	for _, n := range c.Files() {
		name := filepath.Base(n.Path)
		if _, made := d.files[name]; made && from[name] == "" {
			continue
		}
		if before := from[name]; before != "" && before != n.Path {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %s and %s have one name; want different ones", n.Key, before, n.Path))
			continue
		}
		from[name] = n.Path
		b, err := durable.ReadFile(n.Path)
		if errors.Is(err, fs.ErrNotExist) && (n.Key == "broker.cert" || n.Key == "broker.key") {
			err = fmt.Errorf("%w; put it there, or have one made for each gateway with --client-ca and --client-ca-key", err)
		}
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", n.Key, err))
			continue
		}
		text, ok := plainText(b)
		if !ok {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %s is not plain text; want PEM for certificates and keys, as openssl x509 -inform der -in F -out F.pem makes it", n.Key, n.Path))
			continue
		}
		d.files[name] = text
		if err := d.set(n.Key, name); err != nil {
			wrong = errors.Join(wrong, err)
		}
	}
	return wrong
}

// compose writes the provisioning file.
func (d *draft) compose(o Order, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", bytes.TrimRight(d.doc, "\n"))
	fmt.Fprintf(&b, "\n# From here on: what the board needs beside its badged.toml. Secrets are among it: the\n# board takes this file off its boot partition once it has installed it.\n[provision]\nformat = %d\nmade = %q\n", format, now.UTC().Format(time.RFC3339))
	if o.Board != "" {
		fmt.Fprintf(&b, "board = %s\n", config.Quote(o.Board))
	}
	if o.Replaces {
		b.WriteString("replaces = true\n")
	}
	b.WriteString("\n[provision.files]\n")
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		fmt.Fprintf(&b, "%s = %s\n", config.Quote(name), tomlText(string(d.files[name])))
	}
	return b.Bytes()
}

// tomlText writes lines as lines where they can stand as they are.
func tomlText(s string) string {
	if strings.Contains(s, "'''") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return config.Quote(s)
	}
	return "'''\n" + s + "'''"
}

// Check checks a provisioning file as a board does, files and all, and that its
// certificates are good for something now: an office has a clock.
func Check(doc []byte, name string, now time.Time) (notes []string, err error) {
	f, err := Parse(doc, name)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "badged-provision-") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, notes, err := f.stage(disk{}, dir, owners{})
	if err != nil {
		return notes, err
	}
	return notes, f.err(c.Ended(now))
}
