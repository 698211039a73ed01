package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"badged/cmd/internal/control"
)

type doctorCmd struct {
	Reader    string `placeholder:"R" help:"Only this reader."`
	GainSweep bool   `help:"Lay a card on the reader first: how often it is read at each gain."`
}

// errUnwell makes the exit code tell what the lines say.
var errUnwell = errors.New("some checks failed")

// Run asks the gateway to examine itself.
func (c *doctorCmd) Run(e *env) error {
	var checks []control.Check
	err := e.gateway().Post(e.ctx, "/v1/doctor", control.Examination{Reader: c.Reader, GainSweep: c.GainSweep}, &checks)
	if err != nil {
		return err
	}
	if err := e.print(checks, func(w io.Writer) { printChecks(w, checks) }); err != nil {
		return err
	}
	for _, c := range checks {
		if c.State == control.CheckFail {
			return errUnwell
		}
	}
	return nil
}

// printChecks has one line a check; what to do follows the finding.
func printChecks(out io.Writer, checks []control.Check) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, c := range checks {
		text := c.Text
		if c.Do != "" {
			text += "; " + c.Do
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.State, c.Name, text)
	}
}
