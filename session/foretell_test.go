package session_test

import (
	"testing"
	"time"

	"badged/session"
)

func TestForetell(t *testing.T) {
	hours, err := session.ParseHours("Mo-Sa 07:00-21:00")
	if err != nil {
		t.Fatal(err)
	}
	washer := session.DefaultStation(session.Laundry)
	washer.ID, washer.Hours = "washer", hours
	garage := session.DefaultStation(session.Charging)
	garage.ID, garage.Private, garage.Plug = "garage-17", true, true
	day := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) // a Wednesday
	on := session.ListVersion{List: "l", Epoch: 1, Version: 3}
	entry := func(change func(*session.Entry)) session.Listing {
		e := session.Entry{UID: "04A1B2C3", Status: session.Accepted, Account: "r-1"}
		change(&e)
		return session.Listing{Entry: e, Found: true, List: on}
	}
	plain := entry(func(*session.Entry) {})
	for _, c := range []struct {
		what      string
		station   session.StationConfig
		listing   session.Listing
		billing   session.Billing
		at        time.Time
		action    session.Action
		reason    session.Reason
		ending    session.Reason
		withdrawn bool
	}{
		{"a good badge", washer, plain, session.Managed, day, session.ActionStart, "", "", false},
		{"at night", washer, plain, session.Managed, day.Add(11 * time.Hour), session.ActionNone, session.OutsideHours, "", false},
		{"no list yet", washer, session.Listing{}, session.Managed, day, session.ActionNone, session.NoList, session.NoList, false},
		{"not on the list", washer, session.Listing{List: on}, session.Managed, day, session.ActionNone, session.UnknownBadge, session.UnknownBadge, true},
		{"blocked", washer, entry(func(e *session.Entry) { e.Status = session.Blocked }), session.Managed, day, session.ActionNone, session.BlockedBadge, session.BlockedBadge, true},
		{"another's badge, managed", washer, entry(func(e *session.Entry) { e.Origin = session.ThirdParty }), session.Managed, day, session.ActionNone, session.ThirdPartyBadge, session.ThirdPartyBadge, false},
		{"another's badge, statements", washer, entry(func(e *session.Entry) { e.Origin = session.ThirdParty }), session.Statements, day, session.ActionStart, "", "", false},
		{"a private place", garage, plain, session.Managed, day, session.ActionNone, session.PrivateStation, "", false},
		{"one's own place", garage, entry(func(e *session.Entry) { e.Stations = []string{"garage-17"} }), session.Managed, day, session.ActionStart, "", "", false},
		{"a master", washer, entry(func(e *session.Entry) { e.Role = session.Master }), session.Managed, day, session.ActionNone, session.MasterOnlyStops, "", false},
		{"a technician", washer, entry(func(e *session.Entry) { e.Role = session.Tester }), session.Managed, day, session.ActionTest, "", "", false},
		{"expired", washer, entry(func(e *session.Entry) { e.ValidUntil = day }), session.Managed, day, session.ActionNone, session.ExpiredBadge, "", false},
	} {
		f := session.Foretell(session.Config{Billing: c.billing}, c.station, "04A1B2C3", c.listing,
			session.Stamp{BootID: "b", Wall: c.at, Clock: session.ClockSynced})
		if d := f.Decision; d.Action != c.action || d.Reason != c.reason || d.Status != c.reason.Status() || f.Ending != c.ending || f.Withdrawn != c.withdrawn {
			t.Errorf("%s: got %s %s %s, ending %q, withdrawn %t; want %s %s, ending %q, withdrawn %t", c.what, d.Action, d.Status, d.Reason, f.Ending, f.Withdrawn,
				c.action, c.reason, c.ending, c.withdrawn)
		}
	}
}
