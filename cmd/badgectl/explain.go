package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
	"badged/mifare"
	"badged/session"
)

type listExplainCmd struct {
	UID string `arg:"" name:"uid" help:"The badge's UID, in any form that means one badge only."`

	optionalBroker
	trustFlags
	List  string `placeholder:"NAME" help:"Name of the list (default: the config's)."`
	Store string `placeholder:"DIR" help:"Ask the publisher's own folder instead of a broker."`
	CSV   string `name:"csv" placeholder:"F" help:"Ask a CSV instead of a broker."`

	Config   string          `placeholder:"F" help:"A gateway's config: its stations, billing and time zone."`
	Station  []string        `placeholder:"S" help:"Only these stations; without a config, a station of that name."`
	Kind     session.Service `default:"laundry" enum:"laundry,charging" help:"Without a config: what the station is."`
	Private  bool            `help:"Without a config: the station takes only badges that name it."`
	Hours    string          `placeholder:"H" help:"Without a config: the station's hours, such as 'Mo-Sa 07:00-21:00'."`
	Timezone string          `placeholder:"Z" help:"Of the hours, such as Europe/Zurich (default: the config's, or UTC)."`
	Billing  session.Billing `enum:",managed,statements" default:"" help:"Who bills: managed or statements (default: the config's, or managed)."`
	At       string          `placeholder:"T" help:"When, such as 2026-07-01T22:00 or with a zone; 'unknown' for a board whose clock is not set (default: now)."`

	ATQA string `placeholder:"A" name:"atqa" help:"What the card answers, as in badgectl identify (default: a MIFARE Classic)."`
	SAK  string `placeholder:"S" name:"sak" help:"The final SAK (default: 08)."`
	ATS  string `placeholder:"X" name:"ats" help:"ATS with TL, without CRC."`
}

// site is where a badge is explained: what a gateway knows beside the list.
type site struct {
	session.Config
	cards map[string]mifare.Policy // by reader
}

// explanation is what would happen to a badge; its shape is stable.
type explanation struct {
	UID      string               `json:"uid"`
	List     session.ListVersion  `json:"list"`
	Found    bool                 `json:"found"`
	Entry    *session.Entry       `json:"entry,omitempty"`
	At       string               `json:"at"`
	Billing  session.Billing      `json:"billing"`
	Stations []stationExplanation `json:"stations"`
}

type stationExplanation struct {
	Station string          `json:"station"`
	Kind    session.Service `json:"kind"`
	Status  session.Status  `json:"status"`
	Reason  string          `json:"reason,omitempty"`
	Action  session.Action  `json:"action,omitempty"` // start or test
	Text    string          `json:"text"`
	Running string          `json:"running,omitempty"` // what becomes of sessions
	Checks  []checked       `json:"checks,omitempty"`
}

type checked struct {
	Question string `json:"question"`
	OK       bool   `json:"ok"`
	Reason   string `json:"reason,omitempty"`
}

// Run says what a tap of the badge would do.
func (c *listExplainCmd) Run(e *env) error {
	uid, err := mifare.ReadUID(c.UID)
	if err != nil {
		return fmt.Errorf("%w\nhint: badgectl uid %q shows every way to read it", err, c.UID)
	}
	where, err := c.site()
	if err != nil {
		return err
	}
	at, err := c.at(where.Zone)
	if err != nil {
		return err
	}
	card, err := c.card(uid)
	if err != nil {
		return err
	}
	token := session.IDToken(uid.String())
	listing, err := c.listing(e, token)
	if err != nil {
		return err
	}
	x := explanation{UID: string(token), List: listing.List, Found: listing.Found, At: "unknown", Billing: where.Billing}
	if at.Clock != session.ClockUnknown {
		x.At = at.Wall.In(where.Zone).Format(time.RFC3339)
	}
	if listing.Found {
		x.Entry = &listing.Entry
	}
	for _, s := range where.Stations {
		x.Stations = append(x.Stations, where.explain(s, card, listing, at))
	}
	return e.print(x, func(w io.Writer) { printExplanation(w, x) })
}

// explain has the gateway's own judgement of the card, then that of the tap.
func (w site) explain(s session.StationConfig, card mifare.Card, l session.Listing, at session.Stamp) stationExplanation {
	x := stationExplanation{Station: s.ID, Kind: s.Kind}
	if a := w.cards[s.Reader].Admit(card); a.Verdict != mifare.Accept {
		reason := session.Reason(a.Reason)
		x.Status, x.Reason = reason.Status(), string(reason)
		x.Text = fmt.Sprintf("is refused before anybody looks at the list: %s, %s", a.Name, a.Reason)
		return x
	}
	f := session.Foretell(w.Config, s, session.IDToken(card.UID.String()), l, at)
	d := f.Decision
	x.Status, x.Reason, x.Action = d.Status, string(d.Reason), d.Action
	for _, k := range f.Checks {
		x.Checks = append(x.Checks, checked{k.Question, k.Reason == "", string(k.Reason)})
	}
	x.Text = says(d)
	x.Running = running(f, s.Kind, l.Entry)
	return x
}

// says is a decision in words.
func says(d session.Decision) string {
	switch d.Action {
	case session.ActionStart:
		return "starts a session"
	case session.ActionTest:
		return "runs a test: the relay closes for a moment, and nothing is billed"
	}
	return "does nothing: " + words[d.Reason]
}

// words say why, in a sentence that begins with the badge.
var words = map[session.Reason]string{
	session.NoList:          "the gateway has no list",
	session.UnknownBadge:    "the badge is not on the list",
	session.BlockedBadge:    "the list has it as blocked",
	session.InvalidBadge:    "the list has it with a status that opens nothing",
	session.ExpiredBadge:    "its time is over (validUntil, or status Expired)",
	session.NotYetValid:     "its time has not come (validFrom)",
	session.OutsideHours:    "the station is closed at that time",
	session.WrongService:    "it opens other kinds of station (services)",
	session.NotThisStation:  "it names other stations (stations)",
	session.PrivateStation:  "the station is private and the badge does not name it (stations)",
	session.ThirdPartyBadge: "it was issued by somebody else, and this site's operator bills (billing managed)",
	session.MasterOnlyStops: "a master badge only ends sessions",
}

// running is what becomes of sessions in words, where there is something to say.
func running(f session.Forecast, kind session.Service, e session.Entry) string {
	switch {
	case f.Withdrawn && kind == session.Charging:
		return "a session that it has begun ends as soon as the gateway has this list (DeAuthorized)"
	case f.Withdrawn:
		return "a cycle that it has begun runs out; one that only waits for the machine ends at once (DeAuthorized)"
	case f.Ending != "" || f.Decision.Action != session.ActionNone:
		return ""
	case e.Role == session.Master:
		return "it ends whatever session is open here (MasterPass)"
	}
	return "it may end sessions of its own account all the same"
}

func printExplanation(w io.Writer, x explanation) {
	from := x.List.List
	if x.List.Version > 0 {
		from = fmt.Sprintf("%s version %d.%d", x.List.List, x.List.Epoch, x.List.Version)
	}
	fmt.Fprintf(w, "%s on %s: %s\n", x.UID, from, entryLine(x.Entry))
	fmt.Fprintf(w, "at %s, billing %s\n", x.At, x.Billing)
	for _, s := range x.Stations {
		fmt.Fprintf(w, "%s (%s): %s: %s\n", s.Station, s.Kind, join(string(s.Status), s.Reason), s.Text)
		for _, k := range s.Checks {
			answer := "yes"
			if !k.OK {
				answer = "no: " + words[session.Reason(k.Reason)]
			}
			fmt.Fprintf(w, "  %s? %s\n", k.Question, answer)
		}
		if s.Running != "" {
			fmt.Fprintf(w, "  running: %s\n", s.Running)
		}
	}
}

// entryLine is what the list says about the badge.
func entryLine(e *session.Entry) string {
	if e == nil {
		return "not there"
	}
	parts := []string{string(e.Status)}
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	add("account", e.Account)
	add("origin", string(e.Origin))
	add("role", string(e.Role))
	add("services", strings.Trim(fmt.Sprint(e.Services), "[]"))
	add("stations", strings.Join(e.Stations, " "))
	add("from", date(e.ValidFrom))
	add("until", date(e.ValidUntil))
	return strings.Join(parts, ", ")
}

// site is the config's, or what the flags say.
func (c *listExplainCmd) site() (site, error) {
	w := site{session.Config{Billing: session.Managed, Zone: time.UTC}, map[string]mifare.Policy{"": mifare.DefaultPolicy()}}
	if c.Config != "" {
		cfg, err := config.Load(c.Config)
		if err != nil {
			return w, err
		}
		w.Billing, w.Zone = cfg.Billing, cfg.Timezone
		for _, r := range cfg.Readers {
			w.cards[r.Name] = r.Cards
		}
		for _, s := range cfg.Stations {
			w.Stations = append(w.Stations, s.StationConfig)
		}
		if c.List == "" {
			c.List = cfg.List.Name
		}
		c.trustFlags = c.trustFlags.or(cfg.List)
	}
	if c.Billing != "" {
		w.Billing = c.Billing
	}
	if c.Timezone != "" {
		zone, err := time.LoadLocation(c.Timezone)
		if err != nil {
			return w, err
		}
		w.Zone = zone
	}
	var err error
	w.Stations, err = c.stations(w.Stations)
	return w, err
}

// stations are those of the config that are asked for, or made from flags.
func (c *listExplainCmd) stations(all []session.StationConfig) ([]session.StationConfig, error) {
	if c.Config == "" {
		hours, err := session.ParseHours(c.Hours)
		for _, id := range c.Station {
			s := session.DefaultStation(c.Kind)
			s.ID, s.Private, s.Hours = id, c.Private, hours
			all = append(all, s)
		}
		if len(all) == 0 {
			err = errors.Join(err, errors.New("no station to explain the badge at\nhint: --config badged.toml, or --station S with --kind, --private and --hours"))
		}
		return all, err
	}
	for _, id := range c.Station {
		if !slices.ContainsFunc(all, func(s session.StationConfig) bool { return s.ID == id }) {
			return nil, fmt.Errorf("%s has no station %q", c.Config, id)
		}
	}
	return slices.DeleteFunc(all, func(s session.StationConfig) bool { return len(c.Station) > 0 && !slices.Contains(c.Station, s.ID) }), nil
}

// at is when the badge is explained; local times are the site's.
func (c *listExplainCmd) at(zone *time.Location) (session.Stamp, error) {
	at := session.Stamp{BootID: "explain", Up: time.Hour, Wall: time.Now(), Clock: session.ClockSynced}
	switch c.At {
	case "":
		return at, nil
	case "unknown":
		at.Clock = session.ClockUnknown
		return at, nil
	}
	var err error
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04"} {
		if at.Wall, err = time.ParseInLocation(form, c.At, zone); err == nil {
			return at, nil
		}
	}
	return at, fmt.Errorf("--at %q: want a time such as 2026-07-01T22:00, with +02:00 or Z where it is not the site's, or unknown", c.At)
}

// card is what the reader would see.
func (c *listExplainCmd) card(uid mifare.UID) (mifare.Card, error) {
	sak := c.SAK
	if sak == "" {
		sak = "08"
	}
	return observation{UID: uid.String(), ATQA: c.ATQA, SAK: sak, ATS: c.ATS}.card()
}

// listing is what the list says about the badge, by the source that was named.
func (c *listExplainCmd) listing(e *env, uid session.IDToken) (session.Listing, error) {
	v, entries, err := c.entries(e)
	if err != nil {
		return session.Listing{}, err
	}
	l := session.Listing{List: v}
	if i, ok := slices.BinarySearchFunc(entries, uid, func(x session.Entry, t session.IDToken) int { return strings.Compare(string(x.UID), string(t)) }); ok {
		l.Found, l.Entry = true, entries[i]
	}
	return l, nil
}

func (c *listExplainCmd) entries(e *env) (v session.ListVersion, entries []session.Entry, err error) {
	switch {
	case c.CSV != "":
		entries, err = readCSV(e.in, c.CSV)
		return session.ListVersion{List: c.CSV, Count: len(entries)}, entries, err
	case c.List == "":
		return v, nil, errors.New("no list to look at\nhint: --list NAME with --broker or --store, --config badged.toml, or --csv F")
	case c.Broker != "":
		keys, err := c.keys(e.ctx, c.broker(), c.List)
		if err != nil {
			return v, nil, err
		}
		h, entries, err := backend.Verify(e.ctx, c.broker(), c.List, keys)
		return h.At(), entries, err
	}
	dir := c.Store
	if dir == "" {
		if dir, err = defaultStore(); err != nil {
			return v, nil, err
		}
	}
	h, entries, err := backend.Stored(dir, c.List)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w\nhint: --broker URL with --keys F, --store DIR, or --csv F", err)
	}
	return h.At(), entries, err
}
