package session_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"badged/session"
)

var update = flag.Bool("update", false, "write the tables of docs/sessions.md anew")

const sessionsDoc = "../docs/sessions.md"

// The tables of the documentation are the ones that the machine uses:
// go test ./session -run Docs -update writes them.
func TestTablesInTheDocs(t *testing.T) {
	b, err := os.ReadFile(sessionsDoc)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for name, table := range map[string]string{
		"policy laundry": policyTable(session.Laundry), "policy charging": policyTable(session.Charging),
		"defaults": defaultsTable(), "reasons": reasonsTable(),
	} {
		begin, end := fmt.Sprintf("<!-- %s: written by a test -->\n", name), fmt.Sprintf("<!-- end of %s -->", name)
		before, rest, ok1 := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("%s: got no place for the table %q, want %q … %q", sessionsDoc, name, begin, end)
		}
		want = before + begin + "\n" + table + "\n" + end + after
	}
	if *update {
		if err := os.WriteFile(sessionsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s: got tables that differ from the code's; write them with: go test ./session -run Docs -update", sessionsDoc)
	}
}

// row writes a row of a Markdown table.
func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func head(b *strings.Builder, cells ...string) {
	row(b, cells...)
	row(b, strings.Split(strings.Repeat("---,", len(cells)-1)+"---", ",")...)
}

func policyTable(kind session.Service) string {
	var b strings.Builder
	cells := []string{"badge"}
	for _, p := range phases {
		cells = append(cells, string(p))
	}
	head(&b, cells...)
	for _, p := range session.Policies() {
		if p.Kind != kind {
			continue
		}
		cells := []string{string(p.Who)}
		for _, phase := range phases {
			cells = append(cells, rule(p.Rules[phase]))
		}
		row(&b, cells...)
	}
	return b.String()
}

func rule(r session.Rule) string {
	switch {
	case r.Action != session.ActionNone:
		return "**" + string(r.Action) + "**"
	case r.Reason != "":
		return string(r.Reason)
	}
	return "its own reason"
}

func reasonsTable() string {
	var b strings.Builder
	head(&b, "reason", "status")
	for _, r := range session.Reasons() {
		row(&b, string(r), string(r.Status()))
	}
	return b.String()
}

func defaultsTable() string {
	laundry, charging := session.DefaultStation(session.Laundry), session.DefaultStation(session.Charging)
	var b strings.Builder
	head(&b, "key", "laundry", "charging", "what it is")
	for _, d := range []struct {
		key, what string
		of        func(session.StationConfig) string
	}{
		{"start_timeout", "in Preparing without draw, or without a plug", func(c session.StationConfig) string { return lasts(c.StartTimeout) }},
		{"standby_w", "more in Preparing is a programmed delayed start", func(c session.StationConfig) string { return watts(c.StandbyPower) }},
		{"delay_max", "in Preparing with a delayed start; with an S0 meter always", func(c session.StationConfig) string { return lasts(c.DelayMax) }},
		{"idle_power_w", "mean over idle_for up to which it is idle", func(c session.StationConfig) string { return watts(c.IdlePower) }},
		{"idle_for", "the sliding window", func(c session.StationConfig) string { return lasts(c.IdleFor) }},
		{"earliest_end", "after the draw began", func(c session.StationConfig) string { return lasts(c.EarliestEnd) }},
		{"max_duration", "after the draw began", func(c session.StationConfig) string { return lasts(c.MaxDuration) }},
		{"door_release", "the relay stays on after the end", func(c session.StationConfig) string { return lasts(c.DoorRelease) }},
		{"resume_within", "without power, and it goes on", func(c session.StationConfig) string { return lasts(c.ResumeWithin) }},
		{"resume_wait", "for a clock after a power cut", func(c session.StationConfig) string { return lasts(c.ResumeWait) }},
		{"(fixed)", "a register that runs faster has jumped", func(c session.StationConfig) string { return watts(c.MaxPower) }},
	} {
		row(&b, d.key, d.of(laundry), d.of(charging), d.what)
	}
	return b.String()
}

func lasts(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	s := strings.TrimSuffix(d.String(), "0s")
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func watts(w float64) string { return fmt.Sprintf("%g W", w) }
