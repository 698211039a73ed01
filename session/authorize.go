package session

import (
	"slices"
	"time"
)

// Request asks whether a badge may use a station.
type Request struct {
	Listing Listing
	Station StationConfig
	Billing Billing
	At      Stamp
	Zone    *time.Location // of the opening hours; nil is UTC
	// Ending asks only whether the badge may end a session of its account:
	// place, hours and validity then do not count.
	Ending bool
}

// Check is one question that Authorize asks, with its answer.
type Check struct {
	Question string // in words, for people
	Reason   Reason // "" when the check was passed
}

// checks are asked in this order; the first that fails decides.
var checks = []struct {
	question string
	starts   bool // asked for starts only
	fails    func(Request) Reason
}{
	{"is there a list and the badge on it", false, failsList},
	{"is the badge accepted on the list", false, failsStatus},
	{"does this site's billing take who issued the badge", false, failsOrigin},
	{"does the badge open this kind of station", true, failsService},
	{"does the badge open this station", true, failsStation},
	{"is the badge valid now", true, failsValidity},
	{"is the station open now", true, failsHours},
}

// Authorize answers from the list entry, the station, the site's billing and the
// time whether a badge may start (or, with Ending, end) a session; the reason is
// "" when it is Accepted. It knows nothing of running sessions: see Machine.
func Authorize(r Request) (Status, Reason) {
	for _, c := range checks {
		if c.starts && r.Ending {
			continue
		}
		if reason := c.fails(r); reason != "" {
			return reason.Status(), reason
		}
	}
	return Accepted, ""
}

// Explain returns the checks that Authorize makes, each with its answer, up to
// the first that makes the others meaningless.
func Explain(r Request) []Check {
	var all []Check
	for _, c := range checks {
		if c.starts && r.Ending {
			continue
		}
		all = append(all, Check{c.question, c.fails(r)})
		if !r.Listing.Found {
			break
		}
	}
	return all
}

func failsList(r Request) Reason {
	switch {
	case r.Listing.Found:
		return ""
	case r.Listing.List == ListVersion{}:
		return NoList
	}
	return UnknownBadge
}

func failsStatus(r Request) Reason {
	switch r.Listing.Entry.Status {
	case Accepted:
		return ""
	case Blocked:
		return BlockedBadge
	case Expired:
		return ExpiredBadge
	}
	return InvalidBadge
}

// failsOrigin keeps third-party badges out of every site that is not known to
// take them.
func failsOrigin(r Request) Reason {
	origin := r.Listing.Entry.Origin
	if origin == "" || origin == Issued || origin == ThirdParty && r.Billing == Statements {
		return ""
	}
	return ThirdPartyBadge
}

func failsService(r Request) Reason {
	services := r.Listing.Entry.Services
	if len(services) == 0 || slices.Contains(services, r.Station.Kind) {
		return ""
	}
	return WrongService
}

// failsStation lets a master badge pass at private stations that it does not
// name: it only stops sessions.
func failsStation(r Request) Reason {
	e := r.Listing.Entry
	switch {
	case slices.Contains(e.Stations, r.Station.ID):
		return ""
	case r.Station.Private && e.Role != Master:
		return PrivateStation
	case len(e.Stations) > 0:
		return NotThisStation
	}
	return ""
}

func failsValidity(r Request) Reason {
	e, now := r.Listing.Entry, r.At.Wall
	switch {
	case r.At.Clock == ClockUnknown:
		return ""
	case !e.ValidFrom.IsZero() && now.Before(e.ValidFrom):
		return NotYetValid
	case !e.ValidUntil.IsZero() && !now.Before(e.ValidUntil):
		return ExpiredBadge
	}
	return ""
}

// failsHours applies to users only: masters stop, technicians come when they can.
func failsHours(r Request) Reason {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	role := r.Listing.Entry.Role
	if r.At.Clock == ClockUnknown || role == Master || role == Tester || r.Station.Hours.Open(r.At.Wall.In(zone)) {
		return ""
	}
	return OutsideHours
}
