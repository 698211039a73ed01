package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/session"
)

// effectConfig has a station of each kind, each at a reader of its own.
const effectConfig = houseConfig + `[[reader]]
name = "yard"
spi = "/dev/spidev0.1"
[[reader]]
name = "garage"
spi = "/dev/spidev1.0"
[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO17"
run_time = "1h"
[[station]]
id = "charger"
kind = "charging"
reader = "yard"
relay = "GPIO16"
[[station]]
id = "garage-17"
kind = "charging"
private = true
reader = "garage"
relay = "GPIO12"
`

// mine is what a badge that may start was answered.
const mine = session.Reason("")

// effects are entries of a list and what a tap is answered at a managed site at
// noon, station by station; statements and blind have what is another answer where
// the owner collects, and while nobody knows the time. The reason mine is Accepted.
var effects = []struct {
	what, entry               string // status,origin,role,services,stations,validFrom,validUntil
	washer, charger, garage17 session.Reason
	statements, blind         *[3]session.Reason
}{
	{what: "plain", entry: ",,,,,,", garage17: session.PrivateStation},
	{"blocked", "Blocked,,,,,,", session.BlockedBadge, session.BlockedBadge, session.BlockedBadge, nil, nil},
	{"expired", "Expired,,,,,,", session.ExpiredBadge, session.ExpiredBadge, session.ExpiredBadge, nil, nil},
	{"invalid", "Invalid,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},
	{"unknown by the list", "Unknown,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},
	{"not here", "NotAtThisLocation,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},
	{"not now", "NotAtThisTime,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},
	{"concurrent", "ConcurrentTx,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},
	{"not for this type", "NotAllowedTypeEVSE,,,,,,", session.InvalidBadge, session.InvalidBadge, session.InvalidBadge, nil, nil},

	{"issued by the operator", ",issued,,,,,", mine, mine, session.PrivateStation, nil, nil},
	{"third party's", ",third-party,,,,,", session.ThirdPartyBadge, session.ThirdPartyBadge, session.ThirdPartyBadge,
		&[3]session.Reason{mine, mine, session.PrivateStation}, nil},
	{"third party's, blocked", "Blocked,third-party,,,,,", session.BlockedBadge, session.BlockedBadge, session.BlockedBadge, nil, nil},

	{"user", ",,user,,,,", mine, mine, session.PrivateStation, nil, nil},
	{"master", ",,master,,,,", session.MasterOnlyStops, session.MasterOnlyStops, session.MasterOnlyStops, nil, nil},
	{"technician", ",,service,,,,", mine, mine, session.PrivateStation, nil, nil},
	{"technician of the garage", ",,service,,garage-17,,", session.NotThisStation, session.NotThisStation, mine, nil, nil},

	{"laundry only", ",,,laundry,,,", mine, session.WrongService, session.WrongService, nil, nil},
	{"charging only", ",,,charging,,,", session.WrongService, mine, session.PrivateStation, nil, nil},
	{"both", ",,,laundry;charging,,,", mine, mine, session.PrivateStation, nil, nil},

	{"of the garage", ",,,,garage-17,,", session.NotThisStation, session.NotThisStation, mine, nil, nil},
	{"of garage and laundry", ",,,,garage-17;washer,,", mine, session.NotThisStation, mine, nil, nil},
	{"of another garage", ",,,,garage-18,,", session.NotThisStation, session.NotThisStation, session.PrivateStation, nil, nil},
	{"of the garage, for laundry", ",,,laundry,garage-17,,", session.NotThisStation, session.WrongService, session.WrongService, nil, nil},

	{"valid now", ",,,,,2027-03-01T00:00:00Z,2027-03-02T00:00:00Z", mine, mine, session.PrivateStation, nil, nil},
	{"not valid yet", ",,,,,2027-04-01T00:00:00Z,", session.NotYetValid, session.NotYetValid, session.PrivateStation,
		nil, &[3]session.Reason{mine, mine, session.PrivateStation}},
	{"valid no more", ",,,,,,2027-03-01T11:00:00Z", session.ExpiredBadge, session.ExpiredBadge, session.PrivateStation,
		nil, &[3]session.Reason{mine, mine, session.PrivateStation}},
	{"blocked, valid no more", "Blocked,,,,,,2027-03-01T11:00:00Z", session.BlockedBadge, session.BlockedBadge, session.BlockedBadge, nil, nil},
}

// effectUID is the badge of row i.
func effectUID(i int) string { return fmt.Sprintf("04A1%04X", i) }

// tapAt shows a badge at a reader, past what the chip would do, and returns what was
// decided.
func (p *power) tapAt(reader, uid string) (got control.Event) {
	p.t.Helper()
	p.watch(func() { p.g.ctl.Tap(reader, session.IDToken(uid), session.Card{}) }, func(e control.Event) bool {
		got = e
		return e.Kind == "decision"
	})
	return got
}

// Every answer comes by the whole way: CSV, publisher, broker, sync, list, tap.
func TestWhatAnEntryOfTheListDoes(t *testing.T) {
	for name, mode := range map[string]struct {
		billing session.Billing
		wall    time.Time
	}{
		"managed":    {session.Managed, noon},
		"statements": {session.Statements, noon},
		"blind":      {session.Managed, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := mqttBroker(t, new(auth.AllowHook), nil)
			p := &power{house: newHouseOf(t, effectConfig, broker), stop: func() {}}
			p.deaf, p.hw.noChip = true, errors.New("no reader here")
			p.cfg.Billing = mode.billing
			csv := "uid,account,status,origin,role,services,stations,validFrom,validUntil\n"
			for i, e := range effects {
				csv += fmt.Sprintf("%s,r-%d,%s\n", effectUID(i), i, e.entry)
			}
			p.push(broker, csv)
			c, h := boot("boot-1", mode.wall)
			p.boot(c)
			p.eventually("the list", func(s control.Status) bool { return s.List.Count == len(effects) })
			for i, e := range effects {
				want := [3]session.Reason{e.washer, e.charger, e.garage17}
				switch {
				case name == "statements" && e.statements != nil:
					want = *e.statements
				case name == "blind" && e.blind != nil:
					want = *e.blind
				}
				for n, reader := range []string{"hall", "yard", "garage"} {
					p.answer(reader, effectUID(i), want[n], e.what)
					h.pass(time.Minute) // past the dead time
				}
			}
			if got := p.tapAt("hall", "30949AD1"); got.Reason != string(session.UnknownBadge) || got.Status != string(session.Unknown) {
				t.Errorf("a badge that is not listed: got %s %s", got.Status, got.Reason)
			}
			// One entry changes: the very next tap has the new answer.
			p.push(broker, strings.Replace(csv, effectUID(0)+",r-0,,", effectUID(0)+",r-0,Blocked,", 1))
			p.eventually("the delta", func(s control.Status) bool { return s.List.Version == 2 })
			p.answer("hall", effectUID(0), session.BlockedBadge, "blocked by a delta")
			p.push(broker, strings.Replace(csv, effectUID(0)+",r-0,,,,,,,\n", "", 1))
			p.eventually("the removal", func(s control.Status) bool { return s.List.Version == 3 })
			p.answer("hall", effectUID(0), session.UnknownBadge, "removed by a delta")
		})
	}
}

// answer taps, and ends what was started.
func (p *power) answer(reader, uid string, want session.Reason, what string) {
	p.t.Helper()
	got := p.tapAt(reader, uid)
	status := session.Accepted
	if want != mine {
		status = want.Status()
	}
	if got.Reason != string(want) || got.Status != string(status) || (got.TransactionID != "") != (want == mine) {
		p.t.Errorf("%s, at the reader %s: got %s %s, want %s %s", what, reader, got.Status, got.Reason, status, want)
	}
	open := func(st session.StationStatus) bool { return st.Reader == reader && st.TransactionID != "" }
	if i := slices.IndexFunc(p.g.ctl.Status(), open); i >= 0 {
		if _, err := p.g.ctl.Command(p.t.Context(), session.CommandStop, p.g.ctl.Status()[i].ID, ""); err != nil {
			p.t.Fatal(err)
		}
	}
	p.eventually("an end of "+what, func(control.Status) bool { return !slices.ContainsFunc(p.g.ctl.Status(), open) })
}

// What a list does to a session that runs, in each phase.
func TestWhatTheListDoesInMidSession(t *testing.T) {
	const (
		ends    = "ends at once"
		runsOut = "runs out, then ends"
		stays   = "is not touched"
	)
	changes := map[string]struct {
		entry string // of the badge in the session; "" is removed, a whole line is another badge's
		does  [4]string
	}{
		// charging preparing, in use; laundry preparing, in use
		"blocked":                             {"Blocked,,,", [4]string{ends, ends, ends, runsOut}},
		"removed":                             {"", [4]string{ends, ends, ends, runsOut}},
		"invalid":                             {"Invalid,,,", [4]string{ends, ends, ends, runsOut}},
		"expired":                             {"Expired,,,", [4]string{stays, stays, stays, stays}},
		"valid until an hour ago":             {",,," + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), [4]string{stays, stays, stays, stays}},
		"of a third party":                    {",third-party,,", [4]string{stays, stays, stays, stays}},
		"of other stations":                   {",,elsewhere,", [4]string{stays, stays, stays, stays}},
		"the same, and another badge blocked": {"30949AD1,r-2,Blocked,,,\n", [4]string{stays, stays, stays, stays}},
	}
	for name, change := range changes {
		for i, does := range change.does {
			kind, use := []session.Service{session.Charging, session.Laundry}[i/2], i%2 == 1
			t.Run(fmt.Sprintf("%s, %s, in use %t", name, kind, use), func(t *testing.T) {
				t.Parallel()
				m := newMidSession(t, kind, use)
				m.change(change.entry)
				switch does {
				case ends:
					m.until("the end", func(st session.StationStatus) bool { return st.TransactionID == "" })
					if on, _ := m.hw.relay(); on {
						t.Error("got the relay on, want it off")
					}
				case runsOut:
					m.told("Updated Deauthorized ")
					m.load(2000, 10*time.Minute)
					if on, _ := m.hw.relay(); !on {
						t.Error("got the relay off in the cycle, want it on")
					}
					m.load(1, 30*time.Minute)
					m.until("the end", func(st session.StationStatus) bool { return st.TransactionID == "" })
				case stays:
					m.goesOn()
				}
				m.ended(does != stays)
			})
		}
	}
}

// midSession is a stage whose badge has a session, from a list that came by a broker.
type midSession struct {
	*stage
	broker string
}

const midEntry = "uid,account,status,origin,stations,validUntil\n30949AD1,r-2,,,,\n2A3B4C5D,r-3,,,,\n5A3C7E11,r-4,,,,\n"

func newMidSession(t *testing.T, kind session.Service, use bool, set ...func(*config.Config)) *midSession {
	t.Helper()
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	m := &midSession{newStageOn(t, kind, broker), broker}
	for _, f := range set {
		f(&m.cfg)
	}
	m.push(broker, midEntry+"04A1B2C3,r-1,,,,\n")
	m.wake(boot("boot-1", time.Now())) // as the list's date is
	m.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
	m.show("04A1B2C3", session.PhasePreparing)
	if use {
		m.load(2000, 4*time.Minute)
		m.until("a cycle", func(st session.StationStatus) bool { return st.Phase == session.PhaseInUse })
	}
	return m
}

func (m *midSession) change(entry string) {
	m.t.Helper()
	csv := midEntry
	switch other := strings.HasSuffix(entry, "\n"); {
	case other:
		csv = strings.Replace(csv, entry[:8]+",r-2,,,,\n", entry, 1) + "04A1B2C3,r-1,,,,\n"
	case entry != "":
		csv += "04A1B2C3,r-1," + entry + "\n"
	}
	m.push(m.broker, csv)
	m.eventually("the delta", func(s control.Status) bool { return s.List.Version == 2 })
}

// goesOn holds the session as it is, and ends it by the hand of its resident, or by
// the machine's own.
func (m *midSession) goesOn() {
	m.t.Helper()
	before := m.status()
	if before.TransactionID == "" {
		m.t.Fatal("got no session any more, want it to go on")
	}
	m.load(2000, 3*time.Minute)
	if on, _ := m.hw.relay(); !on || m.status().TransactionID != before.TransactionID {
		m.t.Errorf("got %+v, want the same session", m.status())
	}
	if m.cfg.Stations[0].Kind == session.Charging {
		m.show("04A1B2C3", session.PhaseAvailable)
		return
	}
	m.load(1, 30*time.Minute)
	m.until("the end", func(st session.StationStatus) bool { return st.TransactionID == "" })
}

// told waits for the ledger's last record of a session: eventType, trigger, reason.
func (m *midSession) told(want string) {
	m.t.Helper()
	got := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = m.lastEvent(); got == want {
			return
		}
	}
	m.t.Fatalf("got %q in the ledger, want %q", got, want)
}

// ended checks the last word of the ledger.
func (m *midSession) ended(deauthorized bool) {
	m.t.Helper()
	m.settled()
	got := m.lastEvent()
	if !strings.HasPrefix(got, "Ended ") || strings.HasSuffix(got, " DeAuthorized") != deauthorized {
		m.t.Errorf("got %q at last, want an end, DeAuthorized: %t", got, deauthorized)
	}
}

// lastEvent is eventType, trigger and reason of the last record of a session.
func (m *midSession) lastEvent() (last string) {
	m.t.Helper()
	all, err := m.g.ledger.Last(m.t.Context(), 1000)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range all {
		var e session.TransactionEvent
		if err := json.Unmarshal(r.Record, &e); err != nil {
			m.t.Fatal(err)
		}
		if e.TransactionID != "" {
			last = fmt.Sprint(e.EventType, " ", e.TriggerReason, " ", e.StoppedReason)
		}
	}
	return last
}

// A list that grows old, expires in mid-session or is gone ends nothing.
func TestOldAndLostListsEndNoSession(t *testing.T) {
	for _, kind := range []session.Service{session.Charging, session.Laundry} {
		t.Run("old, "+string(kind), func(t *testing.T) {
			t.Parallel()
			m := newMidSession(t, kind, true, func(c *config.Config) { c.List.MaxAge = 30 * time.Minute })
			warned := func(s control.Status) bool { return strings.Contains(fmt.Sprint(s.Faults), "the list") }
			m.eventually("no warning yet", func(s control.Status) bool { return !warned(s) })
			m.load(2000, time.Hour)
			m.eventually("the warning", warned)
			m.goesOn()
			m.ended(false)
		})
		t.Run("lost, "+string(kind), func(t *testing.T) {
			t.Parallel()
			m := newMidSession(t, kind, true)
			m.settled()
			m.stop()
			files, err := filepath.Glob(filepath.Join(m.cfg.State, "list.db*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("got files %q, %v, want those of the list", files, err)
			}
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			if m.cfg.Broker.URL, err = url.Parse(nowhere); err != nil {
				t.Fatal(err)
			}
			m.wake(clockBy("boot-1", m.hands), m.hands)
			m.eventually("an open door", func(s control.Status) bool { return s.List.Version == 0 })
			if got := m.tapAt("hall", "30949AD1"); got.Reason != string(session.NoList) {
				t.Errorf("got %s for somebody else, want NoList", got.Reason)
			}
			m.goesOn()
			m.ended(false)
		})
	}
}
