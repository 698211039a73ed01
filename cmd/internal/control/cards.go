package control

import "time"

// Enrolment is what a badge was that somebody held to a reader to have it
// registered. It is the one answer with a UID in full.
type Enrolment struct {
	At         time.Time `json:"at"`
	Reader     string    `json:"reader"`
	UID        string    `json:"uid"`
	Type       string    `json:"type"`
	Confidence string    `json:"confidence"`
	Name       string    `json:"name"`
	Verdict    string    `json:"verdict"` // accept: it may be put on the list
	Reason     string    `json:"reason"`  // why not
	Notes      []string  `json:"notes"`   // contradictions in what the card said
}

// ShadowStatus counts, since the gateway started, what a stricter policy would
// have done; it has changed no decision.
type ShadowStatus struct {
	Admitted uint64            `json:"admitted"` // taps that the policy in force admitted
	Refused  map[string]uint64 `json:"refused"`  // those of them that the stricter one would not have, by reason
}
