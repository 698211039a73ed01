package session

// The reasons that this package gives. A panel has a text for each of them, and
// for each reason of package mifare.
const (
	UnknownBadge     Reason = "UnknownBadge"     // not on the list
	BlockedBadge     Reason = "BlockedBadge"     // on the list as blocked
	InvalidBadge     Reason = "InvalidBadge"     // on the list with another status than Accepted
	ExpiredBadge     Reason = "ExpiredBadge"     // validUntil has come
	NotYetValid      Reason = "NotYetValid"      // validFrom is still to come
	OutsideHours     Reason = "OutsideHours"     // the station's opening hours
	WrongService     Reason = "WrongService"     // the badge opens other kinds of station
	NotThisStation   Reason = "NotThisStation"   // the badge names other stations
	PrivateStation   Reason = "PrivateStation"   // the badge does not name this private station
	ThirdPartyBadge  Reason = "ThirdPartyBadge"  // not issued by the operator of a managed site
	StationOccupied  Reason = "StationOccupied"  // somebody else's session
	AlreadyRunning   Reason = "AlreadyRunning"   // the badge's own washing cycle, which nobody cuts
	StationDisabled  Reason = "StationDisabled"  // by command
	StationFaulted   Reason = "StationFaulted"   // relay or meter do not work
	NoStation        Reason = "NoStation"        // no such station, or none at this reader
	NoSession        Reason = "NoSession"        // a stop where nothing runs
	DeadTime         Reason = "DeadTime"         // the same badge has just acted here
	SelectionPending Reason = "SelectionPending" // another badge is choosing a station
	AccountLimit     Reason = "AccountLimit"     // the account runs as many machines as it may
	MasterOnlyStops  Reason = "MasterOnlyStops"  // a master badge starts nothing
	StorageFull      Reason = "StorageFull"      // no room for another session
	StorageFault     Reason = "StorageFault"     // the session could not be written
	ListUnreadable   Reason = "ListUnreadable"   // the list could not be asked
	NoList           Reason = "NoList"           // no list has come yet
	MultipleCards    Reason = "MultipleCards"    // two admissible badges at once
)

// reasonStatus has the OCPP status of every reason, in the order of the checks.
var reasonStatus = []struct {
	reason Reason
	status Status
}{
	{ListUnreadable, Unknown},
	{NoList, Unknown},
	{UnknownBadge, Unknown},
	{BlockedBadge, Blocked},
	{InvalidBadge, Invalid},
	{ThirdPartyBadge, Invalid},
	{WrongService, NotAllowedTypeEVSE},
	{PrivateStation, NotAtThisLocation},
	{NotThisStation, NotAtThisLocation},
	{NotYetValid, NotAtThisTime},
	{ExpiredBadge, Expired},
	{OutsideHours, NotAtThisTime},
	{StationOccupied, ConcurrentTx},
	{AlreadyRunning, ConcurrentTx},
	{AccountLimit, ConcurrentTx},
	{DeadTime, ConcurrentTx},
	{SelectionPending, ConcurrentTx},
	{StationDisabled, NotAtThisTime},
	{StationFaulted, NotAtThisTime},
	{StorageFull, NotAtThisTime},
	{StorageFault, NotAtThisTime},
	{MasterOnlyStops, Invalid},
	{NoStation, Invalid},
	{NoSession, Invalid},
	{MultipleCards, Invalid},
}

// Reasons lists every reason that this package gives.
func Reasons() []Reason {
	all := make([]Reason, len(reasonStatus))
	for i, r := range reasonStatus {
		all[i] = r.reason
	}
	return all
}

// Status is the OCPP status of the reason: Accepted for none, Invalid for the
// reasons of refused cards.
func (r Reason) Status() Status {
	if r == "" {
		return Accepted
	}
	for _, s := range reasonStatus {
		if s.reason == r {
			return s.status
		}
	}
	return Invalid
}

// ofBadge tells whether the reason lies in the badge, whatever the station.
func (r Reason) ofBadge() bool {
	switch r {
	case NoList, ListUnreadable, UnknownBadge, BlockedBadge, InvalidBadge, ThirdPartyBadge, NotYetValid, ExpiredBadge:
		return true
	}
	return false
}
