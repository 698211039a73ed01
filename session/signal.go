package session

import "time"

// Signal is one thing to show to the resident at the reader: a light, a sound
// and a line of text, all chosen from Name and Reason by the panel's catalogue.
type Signal struct {
	Name     SignalName
	Reason   Reason // why, for SignalRefused
	Reader   string // where the badge was shown; "" for the whole gateway
	Station  string // which station it is about; may be empty
	Language string // of the badge or the site: de, fr, it, en
	Energy   int64  // Wh used, for SignalEnded
	// FreeIn is when an occupied station is free again, where that is known: of
	// machines that run a fixed time, and of those that wait at rest. 0 is unknown.
	FreeIn time.Duration
}

// SignalName is the kind of a Signal.
type SignalName string

// The signals.
const (
	// SignalProcessing says that a badge was read and the answer is on its way. It
	// is worth showing only if the answer takes long, and gives way to it at once.
	SignalProcessing SignalName = "Processing"

	SignalStarted  SignalName = "Started"  // session started, relay on
	SignalEnded    SignalName = "Ended"    // session ended
	SignalSelected SignalName = "Selected" // a station was selected, tap again to start or wait
	SignalRefused  SignalName = "Refused"  // Reason says why
	SignalTest     SignalName = "Test"     // technician's test of a station
	SignalReady    SignalName = "Ready"    // idle and working
	SignalOffline  SignalName = "Offline"  // idle and working, without the broker
	SignalFault    SignalName = "Fault"    // the reader or the storage does not work
	SignalBlink    SignalName = "Blink"    // somebody looks for this gateway
	SignalEnrolled SignalName = "Enrolled" // the badge was read for registration, nothing else

	SignalProvisioned    SignalName = "Provisioned"    // a new configuration is in force
	SignalNotProvisioned SignalName = "NotProvisioned" // one was refused, or has been given up
)

// Action is what a tap did.
type Action string

// The actions of a tap.
const (
	ActionNone   Action = ""       // refused, or nothing to do
	ActionStart  Action = "start"  // started a session
	ActionStop   Action = "stop"   // ended a session
	ActionSelect Action = "select" // chose a station of several
	ActionTest   Action = "test"   // a service badge's test
)

// Card is what a reader says of a card beside its UID. It is reported, and never
// decides: a type is a claim.
type Card struct {
	Type  string   // such as classic-1k
	Notes []string // contradictions in what the card said
}

// Decision is the answer to one tap, for the resident's panel, for watch, and
// for telemetry. A refusal is a Decision, not an error.
type Decision struct {
	Reader        string
	UID           IDToken
	Card          Card
	Status        Status
	Reason        Reason
	Action        Action
	Station       string // "" when the tap reached none
	TransactionID string // of the session started, stopped or in the way
	Energy        int64  // Wh used, of a session that the tap ended
	Account       string // of the badge; "" when unknown
	Language      string
	List          ListVersion
	At            Stamp
}
