package session

// Phase is the inner state of a station.
type Phase string

// The phases. Recovering from a power cut is not one: the session keeps the
// phase that it had.
const (
	PhaseAvailable   Phase = "Available"
	PhasePreparing   Phase = "Preparing" // authorised, waiting for draw or plug
	PhaseInUse       Phase = "InUse"
	PhaseFinishing   Phase = "Finishing"   // idle, not yet ended
	PhaseUnavailable Phase = "Unavailable" // disabled, no session
	PhaseFaulted     Phase = "Faulted"     // relay or meter dead, no session
)

// Who is a badge in relation to the session at a station.
type Who string

// The relations, the first that fits counts.
const (
	WhoBlocked Who = "blocked meanwhile" // began the session, no longer on the list or blocked
	WhoOwner   Who = "same badge"        // began the session
	WhoMaster  Who = "master"
	WhoAccount Who = "same account" // another badge of the account
	WhoService Who = "service"
	WhoOther   Who = "other badge"  // authorised, of another account
	WhoUnknown Who = "unauthorised" // Authorize refused it
)

// actionDeauthorize ends or marks the session of a badge that was blocked.
const actionDeauthorize Action = "deauthorize"

// Rule is what a tap does: an action, or a refusal with its reason.
type Rule struct {
	Action Action
	Reason Reason // why not; "" with ActionNone means Authorize's own reason
}

// Policy says what a tap of a badge does at a station of Kind in each phase.
type Policy struct {
	Kind  Service
	Who   Who
	Rules map[Phase]Rule
}

// Policies is the whole policy table, the one that the Machine uses. A station
// in door release is Available; a disabled station with a session is in the
// session's phase, so that it can be ended.
func Policies() []Policy {
	var (
		start = Rule{Action: ActionStart}
		stop  = Rule{Action: ActionStop}
		test  = Rule{Action: ActionTest}
		deny  = Rule{}
		deaut = Rule{Action: actionDeauthorize}
		runs  = Rule{Reason: AlreadyRunning}
		occup = Rule{Reason: StationOccupied}
		disab = Rule{Reason: StationDisabled}
		fault = Rule{Reason: StationFaulted}
		stops = Rule{Reason: MasterOnlyStops}
	)
	row := func(k Service, w Who, available, preparing, inUse, finishing, unavailable, faulted Rule) Policy {
		return Policy{k, w, map[Phase]Rule{
			PhaseAvailable: available, PhasePreparing: preparing, PhaseInUse: inUse,
			PhaseFinishing: finishing, PhaseUnavailable: unavailable, PhaseFaulted: faulted,
		}}
	}
	return []Policy{
		//                          Available Preparing InUse  Finishing Unavailable Faulted
		row(Laundry, WhoOwner, start, stop, runs, stop, disab, fault),
		row(Laundry, WhoAccount, start, stop, runs, stop, disab, fault),
		row(Laundry, WhoOther, start, occup, occup, occup, disab, fault),
		row(Laundry, WhoBlocked, deny, deaut, deaut, deaut, deny, deny),
		row(Laundry, WhoUnknown, deny, deny, deny, deny, deny, deny),
		row(Laundry, WhoMaster, stops, stop, stop, stop, stops, stops),
		row(Laundry, WhoService, test, occup, occup, occup, test, test),
		row(Charging, WhoOwner, start, stop, stop, stop, disab, fault),
		row(Charging, WhoAccount, start, stop, stop, stop, disab, fault),
		row(Charging, WhoOther, start, occup, occup, occup, disab, fault),
		row(Charging, WhoBlocked, deny, deaut, deaut, deaut, deny, deny),
		row(Charging, WhoUnknown, deny, deny, deny, deny, deny, deny),
		row(Charging, WhoMaster, stops, stop, stop, stop, stops, stops),
		row(Charging, WhoService, test, occup, occup, occup, test, test),
	}
}

type policyKey struct {
	kind Service
	who  Who
}

func policyIndex() map[policyKey]map[Phase]Rule {
	index := make(map[policyKey]map[Phase]Rule)
	for _, p := range Policies() {
		index[policyKey{p.Kind, p.Who}] = p.Rules
	}
	return index
}
