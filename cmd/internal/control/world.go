package control

import (
	"path/filepath"
	"time"
)

// WorldSocket is the door of the simulator's world, in the folder of the
// gateway's own socket:
//
//	POST /v1/tap      Tap, answered when the cards have left
//	POST /v1/load     Load
//	POST /v1/plug     Plug
//	POST /v1/fault    Fault
//	POST /v1/clock    Clock
//	GET  /v1/state    World
//	GET  /v1/history  []Change
const WorldSocket = "world.sock"

// WorldPath is where the world's door is, beside the gateway's.
func WorldPath(gatewaySocket string) string {
	return filepath.Join(filepath.Dir(gatewaySocket), WorldSocket)
}

// Card is a virtual card as flags give it: hex, ATQA in transmission order, ATS
// with TL and without CRC. Only UID is needed.
type Card struct {
	UID  string `json:"uid"`
	Type string `json:"type,omitempty"`
	ATQA string `json:"atqa,omitempty"`
	SAK  string `json:"sak,omitempty"`
	ATS  string `json:"ats,omitempty"`
}

// Tap holds cards to a reader, the first one if it names none, for ForMs
// milliseconds or as long as a person does.
type Tap struct {
	Cards  []Card `json:"cards"`
	Reader string `json:"reader,omitempty"`
	ForMs  int64  `json:"forMs,omitempty"`
}

// Load is what a station's machine draws while its relay lets it, in watts.
type Load struct {
	Station string  `json:"station"`
	Watts   float64 `json:"watts"`
}

// Plug puts the cable of a charging station into a car, or takes it out.
type Plug struct {
	Station string `json:"station"`
	On      bool   `json:"on"`
}

// Fault breaks a reader's chip in one way; kind "clear" mends it.
type Fault struct {
	Reader string `json:"reader"`
	Kind   string `json:"kind"`
}

// World is what the world itself saw: the truth that tests compare with.
type World struct {
	Machines map[string]Machine `json:"machines"` // by station
	Moves    []RelayMove        `json:"moves"`    // of all relays, oldest first
}

// Machine is the state of what hangs on a station.
type Machine struct {
	Relay   bool    `json:"relay"`
	Watts   float64 `json:"watts"`
	Plugged bool    `json:"plugged"`
	Wh      float64 `json:"wh"` // drawn since the world began
}

// RelayMove is one movement of a relay.
type RelayMove struct {
	At      time.Time `json:"at"`
	Station string    `json:"station"`
	On      bool      `json:"on"`
}

// Clock is what the board knows of the time from now on. Boot begins a new boot,
// as a power cut does: a running gateway learns of that only when it is started
// again. AheadMs is what its wall clock is ahead of this machine's; Source is who
// has set it, "" for nobody yet.
type Clock struct {
	Boot    bool   `json:"boot,omitempty"`
	AheadMs int64  `json:"aheadMs"`
	Source  string `json:"source"`
}

// What can change in a world.
const (
	ChangeRelay   = "relay"
	ChangeLoad    = "load"
	ChangePlug    = "plug"
	ChangePut     = "put"     // a card came into a field
	ChangeRemoved = "removed" // and left it
	ChangeClock   = "clock"
	ChangeBoot    = "boot"
)

// Change is one thing that the world did or had done to it. AtUs is this
// machine's CLOCK_BOOTTIME in microseconds, which no clock of a board's moves.
type Change struct {
	AtUs    int64   `json:"atUs"`
	What    string  `json:"what"`
	Station string  `json:"station,omitempty"`
	On      bool    `json:"on,omitempty"`    // of a relay or a plug
	Watts   float64 `json:"watts,omitempty"` // of a load
	Wh      float64 `json:"wh,omitempty"`    // what the station's machine had drawn by then
	Reader  string  `json:"reader,omitempty"`
	UID     string  `json:"uid,omitempty"`
	BootID  string  `json:"bootId,omitempty"` // of the boot that began
	AheadMs int64   `json:"aheadMs,omitempty"`
	Source  string  `json:"source,omitempty"`
}
