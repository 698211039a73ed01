package control

import (
	"time"

	"badged/session"
)

// Status is what a gateway says of itself: the answer of /v1/status, and the
// retained message on its status topic. It has no UID and no secret in it.
type Status struct {
	Gateway  string                  `json:"gateway"`
	Version  string                  `json:"version"` // of the software
	Started  time.Time               `json:"started"`
	Clock    session.Stamp           `json:"clock"`
	Broker   BrokerStatus            `json:"broker"`
	Nonce    string                  `json:"nonce,omitempty"` // commands name it; new for every connection
	List     ListStatus              `json:"list"`
	Ledger   LedgerStatus            `json:"ledger"`
	Readers  []ReaderStatus          `json:"readers"`
	Stations []session.StationStatus `json:"stations"`
	// Board is its serial number, where it was provisioned: two in turn under one id
	// are two boards with one identity.
	Board  string   `json:"board,omitempty"`
	Faults []string `json:"faults,omitempty"` // in words, for the technician
}

// BrokerStatus is the connection to the broker.
type BrokerStatus struct {
	URL       string    `json:"url"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Attempts  int       `json:"attempts"`
	Error     string    `json:"error,omitempty"` // of the last attempt
}

// ListStatus is the list in force and how fetching a newer one goes.
type ListStatus struct {
	session.ListVersion
	State   string `json:"state"` // "none", "current", "fetching", "incomplete"
	Keys    uint64 `json:"keys"`  // sequence of the key set in force; 0: the pinned keys
	Refused uint64 `json:"refused"`
	Error   string `json:"error,omitempty"` // why the last message was refused
}

// LedgerStatus is how far the records have come.
type LedgerStatus struct {
	session.Outbox
	Refused uint64 `json:"refused"`         // acks that lied, since the gateway started
	Error   string `json:"error,omitempty"` // what was wrong with the last of them
}

// ReaderStatus is one reader.
type ReaderStatus struct {
	Name   string        `json:"name"`
	State  string        `json:"state"` // "starting", "ready", "trouble", "lost"
	Chip   string        `json:"chip,omitempty"`
	Error  string        `json:"error,omitempty"` // why it is not ready
	Health *ReaderHealth `json:"health,omitempty"`
	Shadow *ShadowStatus `json:"shadow,omitempty"` // where a stricter policy is tried out
}

// ReaderHealth is what the driver knows of its chip, and what it has counted
// since the gateway started.
type ReaderHealth struct {
	Version    string  `json:"version"` // VersionReg, "0x92"
	Genuine    bool    `json:"genuine"` // a version of NXP's
	SelfTest   string  `json:"selfTest,omitempty"`
	SpeedMHz   float64 `json:"speedMHz"`
	GainDB     int     `json:"gainDb"`
	SplitReads bool    `json:"splitReads,omitempty"` // the bus breaks bursts
	Held       int     `json:"held"`                 // cards in the field

	Polls      uint64 `json:"polls"`
	Taps       uint64 `json:"taps"`
	Removals   uint64 `json:"removals"`
	Collisions uint64 `json:"collisions"`
	Noise      uint64 `json:"noise"` // damaged answers
	Retries    uint64 `json:"retries"`
	Unreadable uint64 `json:"unreadable"` // visits of cards that cannot be read
	Faults     uint64 `json:"faults"`

	Recoveries       map[string]uint64 `json:"recoveries"` // remedies tried, by name
	LastFault        string            `json:"lastFault,omitempty"`
	LastFaultSeconds int64             `json:"lastFaultSeconds,omitempty"` // how long ago
}
