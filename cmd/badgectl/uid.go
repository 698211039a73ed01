package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"badged/mifare"
)

type uidCmd struct {
	Text string `arg:"" help:"A UID as somebody wrote it: hex with any separator, decimal, Wiegand."`
}

// Run lists every way to read it.
func (c *uidCmd) Run(e *env) error {
	readings := mifare.Readings(c.Text)
	if len(readings) == 0 {
		return fmt.Errorf("%q is no written form of a UID\nhint: want 8, 14 or 20 hex digits, or a decimal number", c.Text)
	}
	return e.print(readings, func(out io.Writer) {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, r := range readings {
			fmt.Fprintf(w, "%s\t%s\n", r.UID, r.Form)
		}
		w.Flush()
		if len(readings) > 1 {
			fmt.Fprintln(out, "ambiguous: hold the badge to a reader and look at badgectl watch")
		}
	})
}
