// Package config reads a gateway's config file: strictly, with every problem at
// its line. It opens no device and no database, so that an office can check what
// a board will run.
package config

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"badged/mifare"
	"badged/session"
	"badged/uplink"
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

// spiPattern is a device node of the kernel's spidev: bus and chip select.
var spiPattern = regexp.MustCompile(`^/dev/spidev[0-9]+\.[0-9]+$`)

// Same tells whether two configs say the same, wherever in their files it stands.
// What the program fills in does not count.
func (c Config) Same(d Config) bool {
	d.Version, d.Socket, d.lines = c.Version, c.Socket, c.lines
	return reflect.DeepEqual(c, d)
}

// Load reads and checks a config file. What is wrong in it comes back as an
// *Error with every problem found.
func Load(path string) (Config, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes into keeps nobody waiting
	if err != nil {
		return Config{}, fmt.Errorf("open config: %w", err)
	}
	defer f.Close()
	return Parse(f, path)
}

// Parse is Load of what r holds. Files that it names are looked for beside path.
func Parse(r io.Reader, path string) (Config, error) {
	doc, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		return Config{}, &Error{path, []Problem{{0, "file", "empty; is it the right one? The reference config has all keys"}}}
	}
	var raw file
	if err := toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(&raw); err != nil {
		return Config{}, &Error{path, placed(doc, DecodeProblems(err))}
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

func (r readerTable) config(p *problems, at string) Reader {
	policy := mifare.DefaultPolicy()
	policy.Dual, policy.TNP3xxx = r.Dual, r.TNP3xxx
	if r.Plus != nil {
		policy.Plus = *r.Plus
	}
	out := Reader{
		Name:     p.id(at+".name", r.Name),
		SPI:      p.need(at+".spi", r.SPI, `a device, such as "/dev/spidev0.0"`),
		SpeedMHz: p.within(at+".speed_mhz", r.SpeedMHz, 4, 0.1, 10),
		Reset:    r.Reset,
		IRQ:      r.IRQ,
		GainDB:   r.GainDB,
		Poll:     r.Poll.or(40 * time.Millisecond),
		Cards:    policy,
		Shadow:   r.Shadow.policy(p, at+".shadow", policy),
	}
	if r.SPI != "" && !spiPattern.MatchString(r.SPI) {
		p.add(at+".spi", `%q: want a device, such as "/dev/spidev0.0"`, r.SPI)
	}
	if out.GainDB == 0 {
		out.GainDB = 33
	}
	if !slices.Contains([]int{18, 23, 33, 38, 43, 48}, out.GainDB) {
		p.add(at+".gain_db", "%d dB: the chip has 18, 23, 33, 38, 43 and 48; 33 suits most, 48 saturates", r.GainDB)
	}
	if out.Poll < 10*time.Millisecond || out.Poll > time.Second {
		p.add(at+".poll", "%v: want 10ms to 1s; 40ms is felt as at once", out.Poll)
	}
	return out
}

// policy is the one that is tried out, where the table leaves something open the
// one in force. It can only be stricter: what would have become of a card that
// was refused, nobody knows.
func (s shadowTable) policy(p *problems, at string, inForce mifare.Policy) mifare.Policy {
	tried := inForce
	for _, o := range []struct {
		name    string
		set, to *bool
	}{{"dual", s.Dual, &tried.Dual}, {"plus", s.Plus, &tried.Plus}, {"tnp3xxx", s.TNP3xxx, &tried.TNP3xxx}} {
		if o.set == nil {
			continue
		}
		if *o.set && !*o.to {
			p.add(at+"."+o.name, "true, and the reader takes none: a shadow counts what stricter settings would refuse; want false")
		}
		*o.to = *o.set
	}
	return tried
}

func (s stationTable) config(p *problems, at string, zone *time.Location) Station {
	kind := session.Service(p.oneOf(at+".kind", s.Kind, "", "laundry", "charging"))
	m := s.Meter.config(p, at+".meter")
	sc := session.DefaultStation(kind)
	sc.ID = p.id(at+".id", s.ID)
	sc.Reader = s.Reader
	sc.Private = s.Private
	sc.Meter = m.Type != "none"
	sc.MeterPower = m.Type == "modbus-tcp" || m.Type == "modbus-rtu"
	sc.Plug = s.Plug != ""
	hours, err := session.ParseHours(s.Hours)
	if err != nil {
		p.add(at+".hours", `%v; want such as "Mo-Sa 07:00-21:00"`, err)
	}
	sc.Hours = hours
	s.durations(&sc)
	sc.IdlePower = p.power(at+".idle_power_w", s.IdlePower, sc.IdlePower)
	sc.StandbyPower = p.power(at+".standby_w", s.StandbyPower, sc.StandbyPower)
	return Station{
		StationConfig: sc, Serial: s.Serial, Meter: m,
		Relay:          p.need(at+".relay", s.Relay, `the name of a line, such as "GPIO17"`),
		RelayActiveLow: p.oneOf(at+".relay_active", s.RelayActive, "high", "high", "low") == "low",
		Plug:           s.Plug, Select: s.Select,
	}
}

func (s stationTable) durations(sc *session.StationConfig) {
	for _, d := range []struct {
		from duration
		to   *time.Duration
	}{
		{s.StartTimeout, &sc.StartTimeout}, {s.DelayMax, &sc.DelayMax}, {s.IdleFor, &sc.IdleFor},
		{s.EarliestEnd, &sc.EarliestEnd}, {s.MaxDuration, &sc.MaxDuration}, {s.DoorRelease, &sc.DoorRelease},
		{s.RunTime, &sc.RunTime}, {s.ResumeWithin, &sc.ResumeWithin}, {s.ResumeWait, &sc.ResumeWait},
	} {
		*d.to = d.from.or(*d.to)
	}
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

func (p *problems) need(key, value, want string) string {
	if value == "" {
		p.add(key, "missing; want %s", want)
	}
	return value
}

func (p *problems) id(key, value string) string {
	if uplink.CheckID(value) != nil {
		p.add(key, "%q: want 1 to 64 of a-z, 0-9 and -", value)
	}
	return value
}

// head reads the form EPOCH.VERSION, which list show prints.
func (p *problems) head(key, value string) (h Head) {
	if value == "" {
		return h
	}
	epoch, version, _ := strings.Cut(value, ".")
	var err, err2 error
	h.Epoch, err = strconv.ParseUint(epoch, 10, 63)
	h.Version, err2 = strconv.ParseUint(version, 10, 63)
	if err != nil || err2 != nil || h.Epoch == 0 || h.Version == 0 {
		p.add(key, `%q: want epoch and version of the list's head, such as "1.118", as badgectl list show prints them`, value)
	}
	return h
}

// longer refuses a duration below the least that makes sense.
func (p *problems) longer(key string, d, least time.Duration) time.Duration {
	if d < least {
		p.add(key, "%v: want at least %v", d, least)
	}
	return d
}

// spelling refuses keys that the TOML library takes in spite of their capitals.
func (p *problems) spelling() {
	for _, key := range slices.Sorted(maps.Keys(p.ix)) {
		if lower := strings.ToLower(key); lower != key {
			p.add(key, "unknown key; want %s", lower)
		}
	}
}

func (p *problems) oneOf(key, value, def string, allowed ...string) string {
	if value == "" {
		value = def
	}
	if !slices.Contains(allowed, value) {
		p.add(key, "%q: want one of %q", value, allowed)
	}
	return value
}

// within is value, or def where the file has none. NaN is within nothing.
func (p *problems) within(key string, value, def, low, high float64) float64 {
	if _, given := p.ix[key]; !given {
		return def
	}
	if !(value >= low && value <= high) {
		p.add(key, "%v: want %v to %v", value, low, high)
	}
	return value
}

func (p *problems) power(key string, value *float64, def float64) float64 {
	if value == nil {
		return def
	}
	return p.within(key, *value, 0, 0, 100_000)
}

func (p *problems) zone(key, name string) *time.Location {
	if name == "" {
		name = "UTC"
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		p.add(key, `%q: want a name of the IANA time zone database, such as "Europe/Zurich"`, name)
		return time.UTC
	}
	return zone
}
