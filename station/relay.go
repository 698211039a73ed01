package station

import "badged/session"

// Relay is a contact behind an output. Ending the daemon moves none: whether a
// relay falls is the session's decision.
type Relay struct{ out Output }

var _ session.Power = (*Relay)(nil)

// NewRelay returns the relay that out drives, as it stands.
func NewRelay(out Output) *Relay { return &Relay{out} }

// Set closes (on) or opens the contact.
func (r *Relay) Set(on bool) error { return r.out.Set(on) }

// Halt opens the contact.
func (r *Relay) Halt() error { return r.out.Set(false) }
