package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"badged/cmd/internal/control"
	"badged/session"
)

type statusCmd struct{}

// Run asks the gateway.
func (*statusCmd) Run(e *env) error {
	s, err := status(e)
	if err != nil {
		return err
	}
	return e.print(s, func(w io.Writer) { printStatus(w, s) })
}

func status(e *env) (s control.Status, err error) {
	return s, e.gateway().Get(e.ctx, "/v1/status", &s)
}

func printStatus(out io.Writer, s control.Status) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "gateway\t%s, version %s, up since %s\n", s.Gateway, s.Version, s.Started.Local().Format(time.DateTime))
	if s.Board != "" {
		fmt.Fprintf(w, "board\t%s\n", s.Board)
	}
	fmt.Fprintf(w, "clock\t%s\n", s.Clock.Clock)
	fmt.Fprintf(w, "broker\t%s\n", brokerLine(s.Broker))
	fmt.Fprintf(w, "list\t%s\n", listLine(s.List))
	fmt.Fprintf(w, "ledger\t%d records, %d taken by the broker, %d acknowledged by the backend\n", s.Ledger.End, s.Ledger.Taken, s.Ledger.Committed)
	if s.Ledger.Refused > 0 {
		fmt.Fprintf(w, "\t%d acknowledgements refused, the last: %s\n", s.Ledger.Refused, s.Ledger.Error)
	}
	for _, r := range s.Readers {
		fmt.Fprintf(w, "reader %s\t%s\n", r.Name, join(r.State, r.Chip, r.Error))
		if r.Shadow != nil {
			fmt.Fprintf(w, "  stricter\t%s\n", shadowLine(*r.Shadow))
		}
	}
	for _, st := range s.Stations {
		fmt.Fprintf(w, "station %s\t%s\n", st.ID, stationLine(st))
	}
	for _, f := range s.Faults {
		fmt.Fprintf(w, "fault\t%s\n", join(f))
	}
}

func brokerLine(b control.BrokerStatus) string {
	if b.Connected {
		return b.URL + ", connected since " + b.Since.Local().Format(time.DateTime)
	}
	return join(b.URL, fmt.Sprintf("not connected after %d attempts", b.Attempts), b.Error)
}

func listLine(l control.ListStatus) string {
	if l.Version == 0 {
		return join(l.List, "no list yet: every badge is unknown", l.Error)
	}
	at := fmt.Sprintf("%s version %d.%d, %d badges, signed %s", l.List, l.Epoch, l.Version, l.Count, l.IssuedAt.Local().Format(time.DateTime))
	return join(at, l.State, l.Error)
}

// shadowLine says what the settings that are tried out would have done.
func shadowLine(s control.ShadowStatus) string {
	parts := []string{fmt.Sprintf("of %d admitted taps would be refused:", s.Admitted)}
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		parts = append(parts, fmt.Sprintf("%d %s", s.Refused[reason], reason))
	}
	if len(parts) == 1 {
		parts = append(parts, "none")
	}
	return strings.Join(parts, " ")
}

func stationLine(s session.StationStatus) string {
	parts := []string{string(s.Status)}
	if string(s.Phase) != string(s.Status) {
		parts = append(parts, strings.ToLower(string(s.Phase)))
	}
	if s.TransactionID != "" {
		parts = append(parts, fmt.Sprintf("%d Wh in %s", s.Energy, time.Duration(s.Seconds)*time.Second), "transaction "+s.TransactionID)
	}
	if s.Relay {
		parts = append(parts, "relay on")
	}
	parts = append(parts, s.Fault)
	if s.MeterFault != "" {
		parts = append(parts, "meter: "+s.MeterFault)
	}
	return join(parts...)
}

// join puts commas between what is not empty, and hints in brackets.
func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if text, hint, ok := strings.Cut(p, "\nhint: "); ok {
			p = text + " (" + hint + ")"
		}
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

type sessionsCmd struct{}

// Run asks the gateway.
func (*sessionsCmd) Run(e *env) error {
	var s []session.StationStatus
	if err := e.gateway().Get(e.ctx, "/v1/sessions", &s); err != nil {
		return err
	}
	return e.print(s, func(out io.Writer) {
		if len(s) == 0 {
			fmt.Fprintln(out, "no session is running")
		}
		for _, st := range s {
			fmt.Fprintf(out, "%s  %s\n", st.ID, join(st.Account, stationLine(st)))
		}
	})
}

type stationCmd struct {
	Station string `arg:"" help:"Station, such as washer."`
	Action  string `arg:"" enum:"enable,disable" help:"enable or disable. A running session goes on."`
}

// Run tells the gateway.
func (s *stationCmd) Run(e *env) error {
	return e.gateway().Post(e.ctx, "/v1/stations/"+s.Station+"/"+s.Action, nil, nil)
}

type blinkCmd struct{}

// Run tells the gateway.
func (*blinkCmd) Run(e *env) error { return e.gateway().Post(e.ctx, "/v1/blink", nil, nil) }
