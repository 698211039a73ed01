package main

import (
	"fmt"
	"io"
	"time"

	"badged/cmd/internal/control"
)

// printReport is what stays with the papers of a site: which gateway, how it was
// found, and who says so.
func printReport(w io.Writer, e *env, checks []control.Check) {
	fmt.Fprintf(w, "COMMISSIONING REPORT\n\nmade %s by badgectl %s\n\n", time.Now().Format("2006-01-02 15:04 MST"), version)
	if s, err := status(e); err == nil {
		printStatus(w, s)
	} else {
		fmt.Fprintf(w, "no gateway runs here: %v\n", err)
	}
	fmt.Fprintln(w)
	printChecks(w, checks)
	n := count(checks)
	fmt.Fprintf(w, "\n%d checks are ok, %d want a look, %d failed.\n", n[control.CheckOK], n[control.CheckWarn], n[control.CheckFail])
	fmt.Fprint(w, "\nPlace:      ______________________\n\nTechnician: ______________________  Signature: ______________________\n")
}
