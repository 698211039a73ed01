package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"badged/mifare"
)

type uidCmd struct {
	Text string `arg:"" help:"A UID as somebody wrote it: hex with any separator, decimal, Wiegand."`
}

// uidReading is one way to read the text; its shape is stable.
type uidReading struct {
	UID      string `json:"uid"` // with ?? for the bytes that the form has lost
	Form     string `json:"form"`
	Complete bool   `json:"complete"`
	Doubtful bool   `json:"doubtful"`
}

type uidResult struct {
	Text     string       `json:"text"`
	UID      string       `json:"uid"` // that a list would take it for; "" for none
	Readings []uidReading `json:"readings"`
}

// Run lists every way to read it. It fails where a list would refuse it.
func (c *uidCmd) Run(e *env) error {
	all := mifare.Readings(c.Text)
	uid, err := mifare.ReadUID(c.Text)
	r := uidResult{Text: c.Text, UID: uid.String(), Readings: []uidReading{}}
	for _, x := range all {
		r.Readings = append(r.Readings, uidReading{x.Pattern, x.Form, x.UID != mifare.UID{}, x.Doubtful})
	}
	if printErr := e.print(r, func(w io.Writer) { printReadings(w, r) }); printErr != nil {
		return printErr
	}
	switch {
	case err == nil:
		return nil
	case len(all) == 0:
		return fmt.Errorf("%w\nhint: also read: separators, decimals, facility and number (123,45678), 26 or 34 Wiegand bits", err)
	}
	return errors.New(err.Error() + "\nhint: hold the badge to a reader: badgectl enrol names its UID")
}

func printReadings(out io.Writer, r uidResult) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, x := range r.Readings {
		var about string
		switch {
		case x.Doubtful:
			about = "\tonly if somebody turned the bytes round"
		case !x.Complete:
			about = "\t?? is lost in this form"
		case x.UID == r.UID:
			about = "\twhat a list takes it for"
		}
		fmt.Fprintf(w, "%s\t%s%s\n", x.UID, x.Form, about)
	}
}
