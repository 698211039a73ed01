package control

import (
	"errors"
	"fmt"
	"strings"
)

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

// Fine is a check that found nothing wrong.
func Fine(format string, a ...any) Check {
	return Check{State: CheckOK, Text: fmt.Sprintf(format, a...)}
}

// Warn is a check that found what wants a look, and says what to do.
func Warn(do, format string, a ...any) Check {
	return Check{State: CheckWarn, Text: fmt.Sprintf(format, a...), Do: do}
}

// Failed is a check that found err. What to do is the hint in err where it has one,
// by its method Hint or after "\nhint: ", else do.
func Failed(err error, do string) Check {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		do = h.Hint()
	}
	text, hint, ok := strings.Cut(err.Error(), "\nhint: ")
	if ok {
		do = hint
	}
	return Check{State: CheckFail, Text: oneLine(text), Do: oneLine(do)}
}

// oneLine has errors that were joined in one line, as a check has.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

// Named is the check under its name.
func (c Check) Named(name string) Check {
	c.Name = name
	return c
}

// Examination says what a doctor is to look at.
type Examination struct {
	Reader    string `json:"reader,omitempty"`    // only this one
	GainSweep bool   `json:"gainSweep,omitempty"` // how well a card is read at every gain, instead
}
