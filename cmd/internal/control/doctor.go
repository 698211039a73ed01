package control

// CheckState is how a check came out.
type CheckState string

// The states of a check; a person looks for the capitals.
const (
	CheckOK   CheckState = "ok"
	CheckWarn CheckState = "warn"
	CheckFail CheckState = "FAIL"
)

// Check is one line of a doctor's report.
type Check struct {
	Name  string     `json:"name"` // "reader hall: chip"
	State CheckState `json:"state"`
	Text  string     `json:"text"`         // what was found
	Do    string     `json:"do,omitempty"` // what to do next, unless all is well
}

// Examination says what a doctor is to look at.
type Examination struct {
	Reader    string `json:"reader,omitempty"`    // only this one
	GainSweep bool   `json:"gainSweep,omitempty"` // how well a card is read at every gain, instead
}
