package session

import "errors"

// Message is a record of the ledger on its way to the backend.
type Message struct {
	Ledger string // id of the ledger
	Seq    uint64 // its place there, from 1
	Hash   string // SHA-256 of Record, lower-case hex
	Record []byte // in RFC 8785 form, as it was hashed
	Time   []byte // JSON object: what is known of its wall clock by now; may be nil
}

// Outbox is how far the ledger has come: Committed <= Taken <= End.
type Outbox struct {
	Ledger    string `json:"ledger"`
	End       uint64 `json:"end"`       // the last record, 0 when there is none
	EndHash   string `json:"endHash"`   // its hash
	Taken     uint64 `json:"taken"`     // a broker has it (PUBACK), and may still lose it
	Committed uint64 `json:"committed"` // the backend has it
}

// What can be wrong with the backend's acknowledgement. None of them changes
// the marks.
var (
	ErrOtherLedger = errors.New("acknowledges another ledger")
	ErrBeyondEnd   = errors.New("acknowledges records that were never made")
	ErrOtherHash   = errors.New("acknowledges a record with another hash")
)
