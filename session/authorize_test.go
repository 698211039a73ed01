package session_test

import (
	"testing"
	"time"

	"badged/session"
)

func TestAuthorize(t *testing.T) {
	washer := session.StationConfig{ID: "washer", Kind: session.Laundry}
	private := session.StationConfig{ID: "garage-17", Kind: session.Charging, Private: true}
	day := washer
	day.Hours, _ = session.ParseHours("Mo-Sa 07:00-21:00")
	good := session.Entry{Status: session.Accepted}
	with := func(f func(*session.Entry)) session.Entry { e := good; f(&e); return e }
	noon := session.Stamp{Wall: epoch, Clock: session.ClockSynced} // Monday 09:00 UTC
	sunday := session.Stamp{Wall: epoch.AddDate(0, 0, -1), Clock: session.ClockSynced}
	lost := session.Stamp{Wall: time.Unix(0, 0), Clock: session.ClockUnknown}

	for name, tc := range map[string]struct {
		entry   session.Entry
		station session.StationConfig
		at      session.Stamp
		billing session.Billing
		ending  bool
		status  session.Status
		reason  session.Reason
	}{
		"plain badge":               {good, washer, noon, session.Managed, false, session.Accepted, ""},
		"blocked":                   {session.Entry{Status: session.Blocked}, washer, noon, session.Statements, false, session.Blocked, session.BlockedBadge},
		"expired by the backend":    {session.Entry{Status: session.Expired}, washer, noon, session.Statements, false, session.Expired, session.ExpiredBadge},
		"status we do not know":     {session.Entry{Status: "NoCredit"}, washer, noon, session.Statements, false, session.Invalid, session.InvalidBadge},
		"no status at all":          {session.Entry{}, washer, noon, session.Statements, false, session.Invalid, session.InvalidBadge},
		"third party, managed":      {with(func(e *session.Entry) { e.Origin = session.ThirdParty }), washer, noon, session.Managed, false, session.Invalid, session.ThirdPartyBadge},
		"third party, statements":   {with(func(e *session.Entry) { e.Origin = session.ThirdParty }), washer, noon, session.Statements, false, session.Accepted, ""},
		"third party, no billing":   {with(func(e *session.Entry) { e.Origin = session.ThirdParty }), washer, noon, "", false, session.Invalid, session.ThirdPartyBadge},
		"origin we do not know":     {with(func(e *session.Entry) { e.Origin = "found" }), washer, noon, session.Statements, false, session.Invalid, session.ThirdPartyBadge},
		"issued, statements":        {with(func(e *session.Entry) { e.Origin = session.Issued }), washer, noon, session.Statements, false, session.Accepted, ""},
		"other service":             {with(func(e *session.Entry) { e.Services = []session.Service{session.Charging} }), washer, noon, session.Managed, false, session.NotAllowedTypeEVSE, session.WrongService},
		"both services":             {with(func(e *session.Entry) { e.Services = []session.Service{session.Charging, session.Laundry} }), washer, noon, session.Managed, false, session.Accepted, ""},
		"names another station":     {with(func(e *session.Entry) { e.Stations = []string{"dryer"} }), washer, noon, session.Managed, false, session.NotAtThisLocation, session.NotThisStation},
		"private, not named":        {good, private, noon, session.Managed, false, session.NotAtThisLocation, session.PrivateStation},
		"private, other named":      {with(func(e *session.Entry) { e.Stations = []string{"garage-18"} }), private, noon, session.Managed, false, session.NotAtThisLocation, session.PrivateStation},
		"private, named":            {with(func(e *session.Entry) { e.Stations = []string{"garage-17"} }), private, noon, session.Managed, false, session.Accepted, ""},
		"private, master":           {with(func(e *session.Entry) { e.Role = session.Master }), private, noon, session.Managed, false, session.Accepted, ""},
		"private, service":          {with(func(e *session.Entry) { e.Role = session.Tester }), private, noon, session.Managed, false, session.NotAtThisLocation, session.PrivateStation},
		"valid from this instant":   {with(func(e *session.Entry) { e.ValidFrom = epoch }), washer, noon, session.Managed, false, session.Accepted, ""},
		"valid from a second on":    {with(func(e *session.Entry) { e.ValidFrom = epoch.Add(time.Second) }), washer, noon, session.Managed, false, session.NotAtThisTime, session.NotYetValid},
		"valid until this instant":  {with(func(e *session.Entry) { e.ValidUntil = epoch }), washer, noon, session.Managed, false, session.Expired, session.ExpiredBadge},
		"valid for a second":        {with(func(e *session.Entry) { e.ValidUntil = epoch.Add(time.Second) }), washer, noon, session.Managed, false, session.Accepted, ""},
		"expired, clock unknown":    {with(func(e *session.Entry) { e.ValidUntil = epoch }), washer, lost, session.Managed, false, session.Accepted, ""},
		"open":                      {good, day, noon, session.Managed, false, session.Accepted, ""},
		"closed":                    {good, day, sunday, session.Managed, false, session.NotAtThisTime, session.OutsideHours},
		"closed, clock unknown":     {good, day, lost, session.Managed, false, session.Accepted, ""},
		"closed, technician":        {with(func(e *session.Entry) { e.Role = session.Tester }), day, sunday, session.Managed, false, session.Accepted, ""},
		"closed, ending":            {good, day, sunday, session.Managed, true, session.Accepted, ""},
		"ending, private not named": {good, private, noon, session.Managed, true, session.Accepted, ""},
		"ending, blocked":           {session.Entry{Status: session.Blocked}, washer, noon, session.Managed, true, session.Blocked, session.BlockedBadge},
	} {
		t.Run(name, func(t *testing.T) {
			r := session.Request{
				Listing: session.Listing{Entry: tc.entry, Found: true, List: session.ListVersion{Version: 1}},
				Station: tc.station, Billing: tc.billing, At: tc.at, Ending: tc.ending,
			}
			status, reason := session.Authorize(r)
			if status != tc.status || reason != tc.reason {
				t.Errorf("got %s %q, want %s %q", status, reason, tc.status, tc.reason)
			}
			var first session.Reason
			for _, c := range session.Explain(r) {
				if c.Reason != "" && first == "" {
					first = c.Reason
				}
			}
			if first != reason {
				t.Errorf("got %q as the first failure of Explain, want %q", first, reason)
			}
		})
	}
}

func TestAuthorizeTellsNoListFromNotOnIt(t *testing.T) {
	r := session.Request{Station: session.StationConfig{Kind: session.Laundry}}
	if s, got := session.Authorize(r); s != session.Unknown || got != session.NoList {
		t.Errorf("got %s %s without a list, want Unknown NoList", s, got)
	}
	r.Listing.List.Version = 1
	if s, got := session.Authorize(r); s != session.Unknown || got != session.UnknownBadge {
		t.Errorf("got %s %s, want Unknown UnknownBadge", s, got)
	}
}

func TestEveryReasonHasAStatus(t *testing.T) {
	seen := map[session.Reason]bool{}
	for _, r := range session.Reasons() {
		if seen[r] || r.Status() == session.Accepted {
			t.Errorf("got %q twice or with status %s", r, r.Status())
		}
		seen[r] = true
	}
	if got := session.Reason("DESFire").Status(); got != session.Invalid {
		t.Errorf("got %s for a refused card, want Invalid", got)
	}
}

func TestHours(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip("no time zones on this machine: ", err)
	}
	at := func(y, m, d, hh, mm int) time.Time { return time.Date(y, time.Month(m), d, hh, mm, 0, 0, time.UTC) }
	for name, tc := range map[string]struct {
		hours string
		at    time.Time // UTC
		open  bool
	}{
		"always":                            {"", at(2026, 3, 1, 3, 0), true},
		"24/7":                              {"24/7", at(2026, 3, 1, 3, 0), true},
		"first minute":                      {"Mo-Sa 07:00-21:00", at(2026, 3, 2, 6, 0), true},
		"minute before":                     {"Mo-Sa 07:00-21:00", at(2026, 3, 2, 5, 59), false},
		"last minute":                       {"Mo-Sa 07:00-21:00", at(2026, 3, 2, 19, 59), true},
		"end is not open":                   {"Mo-Sa 07:00-21:00", at(2026, 3, 2, 20, 0), false},
		"Sunday":                            {"Mo-Sa 07:00-21:00", at(2026, 3, 1, 11, 0), false},
		"summer time moves UTC":             {"Mo-Sa 07:00-21:00", at(2026, 3, 30, 5, 0), true},
		"second range":                      {"Mo-Fr 07:00-12:00,13:30-19:00", at(2026, 3, 2, 12, 45), true},
		"between ranges":                    {"Mo-Fr 07:00-12:00,13:30-19:00", at(2026, 3, 2, 11, 45), false},
		"second rule":                       {"Mo-Fr 07:00-12:00; Sa 14:00-15:00", at(2026, 3, 7, 13, 30), true},
		"rules by comma":                    {"Mo 07:00-12:00, Tu 14:00-15:00", at(2026, 3, 3, 13, 30), true},
		"rules by comma, other day":         {"Mo 07:00-12:00, Tu 14:00-15:00", at(2026, 3, 2, 13, 30), false},
		"list of days":                      {"Mo,We 10:00-11:00", at(2026, 3, 4, 9, 30), true},
		"days wrap round":                   {"Sa-Mo 10:00-11:00", at(2026, 3, 1, 9, 30), true},
		"days wrap round, outside":          {"Sa-Mo 10:00-11:00", at(2026, 3, 3, 9, 30), false},
		"over midnight, evening":            {"Fr 22:00-06:00", at(2026, 3, 6, 22, 0), true},
		"over midnight, morning after":      {"Fr 22:00-06:00", at(2026, 3, 7, 4, 59), true},
		"over midnight, its own morning":    {"Fr 22:00-06:00", at(2026, 3, 6, 4, 0), false},
		"over midnight, end":                {"Fr 22:00-06:00", at(2026, 3, 7, 5, 0), false},
		"over the week's end":               {"Sa 22:00-06:00", at(2026, 3, 1, 4, 0), true},
		"to 24:00":                          {"Mo 20:00-24:00", at(2026, 3, 2, 22, 59), true},
		"spring, before the gap":            {"Su 01:00-03:30", at(2026, 3, 29, 0, 59), true},
		"spring, after the gap":             {"Su 01:00-03:30", at(2026, 3, 29, 1, 29), true},
		"spring, end on the new clock":      {"Su 01:00-03:30", at(2026, 3, 29, 1, 30), false},
		"autumn, first of the double hours": {"Su 02:00-03:00", at(2026, 10, 25, 0, 30), true},
		"autumn, second of them":            {"Su 02:00-03:00", at(2026, 10, 25, 1, 30), true},
		"autumn, after":                     {"Su 02:00-03:00", at(2026, 10, 25, 2, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := session.ParseHours(tc.hours)
			if err != nil {
				t.Fatal(err)
			}
			if got := h.Open(tc.at.In(zurich)); got != tc.open {
				t.Errorf("got open %v, want %v", got, tc.open)
			}
		})
	}
}

func TestParseHoursRefuses(t *testing.T) {
	for _, text := range []string{
		"Mo", "Mo-Sa", "07:00", "07:00-", "Mo 7-21", "Xx 07:00-21:00", "Mo 07:00-25:00", "Mo 07:60-08:00",
		"Mo 07:00-07:00", "24:00-06:00", ";", ",", "Mo-Sa-Su 07:00-21:00", "Mo 07:0-08:00", "Mo -1:00-08:00", "om 07:00-08:00",
		"07:00-08:00-09:00",
	} {
		if h, err := session.ParseHours(text); err == nil {
			t.Errorf("got %+v for %q, want an error", h, text)
		}
	}
}

func FuzzParseHours(f *testing.F) {
	f.Add("Mo-Sa 07:00-21:00")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := session.ParseHours(text); err == nil {
			h.Open(epoch)
		}
	})
}
