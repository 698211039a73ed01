package session

import "strings"

// IDToken is what a badge gives to the backend: the UID in canonical form,
// upper-case hex in wire order (OCPP 2.0.1 idToken, type ISO14443).
type IDToken string

// Masked is the form for logs and status: enough to recognise a badge that one
// holds in the hand, too little to copy it.
func (t IDToken) Masked() string {
	if len(t) < 8 {
		return strings.Repeat("…", len(t))
	}
	return string(t[:4]) + "…" + string(t[len(t)-2:])
}

// Status is the answer to a tap, an OCPP 2.0.1 AuthorizationStatus.
type Status string

// The statuses that this gateway gives or stores.
const (
	Accepted           Status = "Accepted"
	Blocked            Status = "Blocked"
	ConcurrentTx       Status = "ConcurrentTx"
	Expired            Status = "Expired"
	Invalid            Status = "Invalid"
	NotAllowedTypeEVSE Status = "NotAllowedTypeEVSE"
	NotAtThisLocation  Status = "NotAtThisLocation"
	NotAtThisTime      Status = "NotAtThisTime"
	Unknown            Status = "Unknown"
)

// Reason says more finely than Status why a tap had its answer. The reasons of
// refused cards are those of package mifare, letter for letter.
type Reason string

// Service is what a badge may open and what a station is (its kind).
type Service string

// The two services.
const (
	Laundry  Service = "laundry"
	Charging Service = "charging"
)

// Billing is who bills and collects at the site.
type Billing string

// Managed sites take only badges that the operator issued; at statements sites
// registered third-party badges are taken too.
const (
	Managed    Billing = "managed"
	Statements Billing = "statements"
)

// Origin tells who issued a badge.
type Origin string

// The two origins.
const (
	Issued     Origin = "issued"
	ThirdParty Origin = "third-party"
)

// Role is what a badge may do beside starting and ending its own sessions.
type Role string

// A master badge stops any session and starts none; a service badge runs a
// test that is marked and never billed.
const (
	User   Role = "user"
	Master Role = "master"
	Tester Role = "service"
)

// ConnectorStatus is the state of a station to the outside.
type ConnectorStatus string

// The statuses of a station (OCPP 2.0.1 ConnectorStatusEnumType).
const (
	Available   ConnectorStatus = "Available"
	Occupied    ConnectorStatus = "Occupied"
	Unavailable ConnectorStatus = "Unavailable"
	Faulted     ConnectorStatus = "Faulted"
)

// MilliWattHours is energy as it is counted inside: a 1000 imp/kWh pulse is
// 1000 of it. Records carry whole watt-hours; see WattHours.
type MilliWattHours int64

// WattHours rounds down. Registers are rounded, not differences, so that the
// sessions of a meter always add up to what it counted.
func (e MilliWattHours) WattHours() int64 {
	if e < 0 {
		return (int64(e) - 999) / 1000
	}
	return int64(e) / 1000
}
