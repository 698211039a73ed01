package reader

import (
	"time"

	"badged/mifare"
)

// Event is what Run tells: a Tap, Removed, Unreadable, Started, Lost, Back or
// Recovered.
type Event interface{ event() }

// Tap says that cards came into the field. A card that stays, or leaves and
// comes back before Removed, does not tap again.
type Tap struct {
	// New are the cards that came with this poll, at least one.
	New []mifare.Card
	// Held are cards that tapped before and answered in this poll too.
	Held []mifare.Card
}

// Removed says that a card has left the field. UID is the one it tapped with.
type Removed struct{ Card mifare.Card }

// Unreadable says that a card is in the field, alone, that will never give a UID:
// what it sends is whole, wrong, and the same every time. It is told once a visit.
type Unreadable struct{ Err error }

// Started says that the reader works for the first time. A clone, or a chip that
// failed its self test, is worth a warning and may read as well as any.
type Started struct {
	Chip     string
	Genuine  bool
	SelfTest string // as Health.SelfTest
}

// Lost says that the reader has not worked for a while, though everything was
// tried. Cards in the field are neither tapped nor removed until Back.
type Lost struct {
	Err  error // a *Fault in the chain
	Down time.Duration
}

// Back ends Lost.
type Back struct{ Down time.Duration }

// Recovered says that something broke and was repaired before it counted as
// Lost: a fault for telemetry, nothing for the resident.
type Recovered struct {
	Err  error  // what broke
	Step string // what helped, a key of Health.Recoveries
}

func (Tap) event()        {}
func (Removed) event()    {}
func (Unreadable) event() {}
func (Started) event()    {}
func (Lost) event()       {}
func (Back) event()       {}
func (Recovered) event()  {}
