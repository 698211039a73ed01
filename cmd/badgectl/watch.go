package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"badged/cmd/internal/control"
)

type watchCmd struct{}

// Run prints events until it is interrupted.
func (*watchCmd) Run(e *env) error {
	return e.gateway().Watch(e.ctx, nil, func(ev control.Event) error {
		if e.json {
			return json.NewEncoder(e.out).Encode(ev)
		}
		_, err := fmt.Fprintln(e.out, watchLine(ev))
		return err
	})
}

const enrolledText = "read for enrolment, not authorised"

// watchLine is an event in one line: when, where, which card, what about it.
func watchLine(ev control.Event) string {
	what := ev.Kind + ": " + ev.Text
	switch ev.Kind {
	case "card":
		what = cardLine(ev)
	case "decision":
		what = decisionLine(ev)
	case "enrolled":
		what = enrolledText
	case "removed":
		what = "removed"
	}
	return strings.TrimSpace(fmt.Sprintf("%s  %-6s  %-8s  %s", ev.At.Local().Format("15:04:05.000"), ev.Reader, ev.UID, what))
}

// cardLine says what a card is and whether it may be looked up at all.
func cardLine(ev control.Event) string {
	line := fmt.Sprintf("%s (%s), %s: ", ev.Type, ev.Confidence, ev.Name)
	if ev.Reason == "" {
		line += "may be a badge"
	} else {
		line += "no badge: " + ev.Reason
	}
	if ev.Shadow != "" {
		line += "; stricter settings would refuse it: " + ev.Shadow
	}
	if len(ev.Notes) > 0 {
		line += "; noted: " + strings.Join(ev.Notes, ", ")
	}
	return line
}

// decisionLine says what the card is, what became of it and why, and what the
// panel shows.
func decisionLine(ev control.Event) string {
	line := ev.Status
	if ev.Reason != "" {
		line += " (" + ev.Reason + ")"
	}
	if ev.Station != "" {
		line += " at " + ev.Station
	}
	if ev.Type != "" {
		line = ev.Type + ": " + line
	}
	if ev.Text != "" {
		line += `, panel: "` + ev.Text + `"`
	}
	return line
}

type enrolCmd struct{}

// Run waits for a badge at any reader of the gateway.
func (*enrolCmd) Run(e *env) error {
	fmt.Fprintln(e.err, "hold the badge to a reader within a minute; it will not be authorised")
	var got control.Enrolment
	if err := e.gateway().Post(e.ctx, "/v1/enrol", nil, &got); err != nil {
		return err
	}
	return e.print(got, func(w io.Writer) { printEnrolment(w, got) })
}

func printEnrolment(w io.Writer, b control.Enrolment) {
	fmt.Fprintf(w, "%s  %s (%s), %s, at reader %s\n", b.UID, b.Type, b.Confidence, b.Name, b.Reader)
	if b.Reason == "" {
		fmt.Fprintln(w, "  accept: it may be put on the list")
	} else {
		fmt.Fprintf(w, "  %s: it cannot be a badge here: %s\n", b.Verdict, b.Reason)
	}
	if len(b.Notes) > 0 {
		fmt.Fprintf(w, "  noted: %s\n", strings.Join(b.Notes, ", "))
	}
}
