package control

import (
	"path/filepath"
	"time"
)

// WorldSocket is the door of the simulator's world, in the folder of the
// gateway's own socket:
//
//	POST /v1/tap    Tap, answered when the cards have left
//	POST /v1/load   Load
//	POST /v1/plug   Plug
//	POST /v1/fault  Fault
//	GET  /v1/state  World
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
