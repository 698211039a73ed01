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
	Ledger   session.Outbox          `json:"ledger"`
	Readers  []ReaderStatus          `json:"readers"`
	Stations []session.StationStatus `json:"stations"`
	Faults   []string                `json:"faults,omitempty"` // in words, for the technician
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
	Refused uint64 `json:"refused"`
	Error   string `json:"error,omitempty"` // why the last message was refused
}

// ReaderStatus is one reader.
type ReaderStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"` // "ok", "lost"
	Chip   string `json:"chip,omitempty"`
	Error  string `json:"error,omitempty"`
	Health any    `json:"health,omitempty"` // counters of the driver
}
