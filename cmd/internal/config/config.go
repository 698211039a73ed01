// Package config reads a gateway's config file: strictly, with every problem at
// its line. It opens no device and no database, so that an office can check what
// a board will run.
package config

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"

	"badged/cmd/internal/durable"
	"badged/mifare"
	"badged/session"
)

// Config is a gateway's config file, checked and with its defaults filled in.
// Paths are absolute.
type Config struct {
	File string // where it was read from
	// Version and Socket are the program's to fill in, not the file's.
	Version string // of the software
	Socket  string // of the local door

	ID      string // in topics, client id and user name at the broker
	Site    string
	Billing session.Billing
	// Language is of texts for people whose badge names none.
	Language string
	Timezone *time.Location
	State    string // the folder of the databases
	PlainUID bool   // records carry UIDs as they are, not as HMACs
	SiteKey  string // file with the HMAC's key; "" makes one in State
	// Retention is how long records stay that the backend has acknowledged.
	Retention time.Duration
	// MaxSessionsPerAccount is 0 for no limit.
	MaxSessionsPerAccount int

	Broker Broker
	List   List
	// CommandKeys is a file with a JWK Set: who may sign commands. "" takes none.
	CommandKeys string
	Readers     []Reader
	Stations    []Station
	Panel       Panel

	lines Index // where each key stands in File
}

// Broker is the MQTT broker and how to get in.
type Broker struct {
	URL           *url.URL
	CA, Cert, Key string // files; "" where not used
	User          string // default: the gateway's id
	PasswordFile  string
	AckByBroker   bool // a PUBACK counts as the backend's acknowledgement
	RetryMin      time.Duration
	RetryMax      time.Duration
}

// Encrypted tells whether the connection is.
func (b Broker) Encrypted() bool { return b.URL.Scheme != "tcp" && b.URL.Scheme != "mqtt" }

// List is the list of badges and who may sign it.
type List struct {
	Name   string
	Keys   string // file with a JWK Set
	Roots  string // file with a JWK Set: who may replace Keys and CommandKeys; "" for nobody
	Head   Head
	MaxAge time.Duration
}

// Head is the highest head of the list that was known when the config was made;
// the zero value is none.
type Head struct{ Epoch, Version uint64 }

// Reader is one MFRC522.
type Reader struct {
	Name     string
	SPI      string // device node
	SpeedMHz float64
	Reset    string // line name, "" where not wired
	IRQ      string // line name, "" where not wired
	GainDB   int
	Poll     time.Duration
	Cards    mifare.Policy
	// Shadow is what the reader would take under stricter settings: counted, never
	// used. It is Cards where nothing is tried out.
	Shadow mifare.Policy
}

// TellsPlus tells whether MIFARE Plus has to be told from MIFARE Classic.
func (r Reader) TellsPlus() bool { return !r.Cards.Plus || !r.Shadow.Plus }

// Station is one machine: what the session machine knows of it, and its wires.
type Station struct {
	session.StationConfig
	Serial         string // of the wallbox, for people
	Relay          string // line name
	RelayActiveLow bool
	Plug           string // line name, "" where there is none
	Select         string // line name, "" where there is none
	Meter          Meter
}

// Panel has the lines of the lights and the buzzer, and the display's bus; each may be "".
type Panel struct{ Green, Red, Buzzer, Display string }

// Same tells whether two configs say the same, wherever in their files it stands.
// What the program fills in does not count.
func (c Config) Same(d Config) bool {
	d.Version, d.Socket, d.lines = c.Version, c.Socket, c.lines
	return reflect.DeepEqual(c, d)
}

// Load reads and checks a config file. What is wrong in it comes back as an
// *Error with every problem found; so does a file that cannot be read, unless that
// may pass.
func Load(path string) (Config, error) {
	doc, err := durable.ReadFile(path)
	if err != nil {
		return Config{}, unreadable(path, err)
	}
	return parse(doc, path)
}

// Parse is Load of what r holds. Files that it names are looked for beside path.
func Parse(r io.Reader, path string) (Config, error) {
	doc, err := durable.ReadAll(r, path)
	if err != nil {
		return Config{}, unreadable(path, err)
	}
	return parse(doc, path)
}

func parse(doc []byte, path string) (Config, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return Config{}, wholly(path, nil, "empty; is it the right one? The reference config has all keys")
	}
	var raw file
	if err := toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(&raw); err != nil {
		return Config{}, &Error{File: path, Problems: placed(doc, DecodeProblems(err))}
	}
	p := &problems{ix: IndexLines(doc)}
	p.spelling()
	dir, err := folder(path)
	if err != nil {
		return Config{}, fmt.Errorf("config folder: %w", err)
	}
	c := raw.config(p, dir)
	c.File, c.lines = path, p.ix
	c.check(p)
	return c, p.err(path)
}

// Problem is one of this config, at the line of its key.
func (c Config) Problem(key, format string, args ...any) Problem {
	return Problem{c.lines.Line(key), key, fmt.Sprintf(format, args...)}
}

// config fills in defaults and checks each value by itself.
func (f *file) config(p *problems, dir string) Config {
	c := Config{
		ID:                    p.id("gateway.id", f.Gateway.ID),
		Site:                  p.id("gateway.site", f.Gateway.Site),
		Billing:               session.Billing(p.oneOf("gateway.billing", f.Gateway.Billing, "", "managed", "statements")),
		Language:              p.oneOf("gateway.language", f.Gateway.Language, "en", "de", "fr", "it", "en"),
		Timezone:              p.zone("gateway.timezone", f.Gateway.Timezone),
		State:                 beside(dir, p.need("gateway.state", f.Gateway.State, `a folder, such as "/var/lib/badged"`)),
		PlainUID:              p.oneOf("gateway.uid", f.Gateway.UID, "hmac", "hmac", "plain") == "plain",
		SiteKey:               beside(dir, f.Gateway.SiteKey),
		Retention:             p.longer("gateway.retention", f.Gateway.Retention.or(400*24*time.Hour), 24*time.Hour),
		MaxSessionsPerAccount: int(p.within("gateway.max_sessions_per_account", float64(f.Gateway.MaxPerUser), 0, 0, 1000)),
		Broker:                f.Broker.config(p, dir),
		List: List{
			Name:   p.id("list.name", f.List.Name),
			Keys:   beside(dir, p.need("list.keys", f.List.Keys, `a file with a JWK Set, such as "list-keys.jwks"`)),
			Roots:  beside(dir, f.List.RootKeys),
			Head:   p.head("list.head", f.List.Head),
			MaxAge: p.longer("list.max_age", f.List.MaxAge.or(30*24*time.Hour), time.Minute),
		},
		CommandKeys: beside(dir, f.Commands.Keys),
		Panel:       Panel(f.Panel),
	}
	for i, r := range f.Reader {
		c.Readers = append(c.Readers, r.config(p, fmt.Sprintf("reader[%d]", i)))
	}
	for i, s := range f.Station {
		c.Stations = append(c.Stations, s.config(p, fmt.Sprintf("station[%d]", i), c.Timezone))
	}
	return c
}

func (b brokerTable) config(p *problems, dir string) Broker {
	out := Broker{
		CA: beside(dir, b.CA), Cert: beside(dir, b.Cert), Key: beside(dir, b.Key),
		User: b.User, PasswordFile: beside(dir, b.PasswordFile),
		AckByBroker: p.oneOf("broker.ack", b.Ack, "backend", "backend", "broker") == "broker",
		RetryMin:    b.RetryMin.or(time.Second),
		RetryMax:    b.RetryMax.or(5 * time.Minute),
	}
	u, err := url.Parse(p.need("broker.url", b.URL, `such as "tls://broker.example.org:8883"`))
	if b.URL != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"tcp", "mqtt", "tls", "ssl", "mqtts"}, u.Scheme)) {
		p.add("broker.url", `%q: want tls://HOST:8883 or, inside a trusted network, tcp://HOST:1883`, b.URL)
	}
	if u != nil && u.User != nil {
		p.add("broker.url", "has a user in it; want broker.user, and the password in the file of broker.password_file")
	}
	out.URL = u
	p.longer("broker.retry_max", out.RetryMax, out.RetryMin)
	if (b.Cert == "") != (b.Key == "") {
		p.add("broker.cert", "cert and key go together: give both or none")
	}
	return out
}

// folder is where the files are that a config at path names: beside it, and where
// it is a link, as provisioning makes it, beside the file itself.
func folder(path string) (string, error) {
	if there, err := filepath.EvalSymlinks(path); err == nil {
		path = there
	}
	return filepath.Abs(filepath.Dir(path))
}

// beside resolves a file name against the config's folder.
func beside(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
