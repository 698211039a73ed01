package station_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"badged/session"
	"badged/station"
)

const lightsDoc = "../docs/install.md"

// The table of the lights is the catalogue's: go test ./station -run Lights -update writes it.
func TestLightsInTheDocs(t *testing.T) {
	b, err := os.ReadFile(lightsDoc)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- lights: written by a test -->\n", "<!-- end of lights -->"
	before, rest, ok1 := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: got no place for the table, want %q … %q", lightsDoc, begin, end)
	}
	want := before + begin + "\n" + lightsTable(t) + "\n" + end + after
	if *update {
		if err := os.WriteFile(lightsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s: got a table that differs from the catalogue; write it with: go test ./station -run Lights -update", lightsDoc)
	}
}

// lightsTable has a row for each light and sound, with all that it may mean.
func lightsTable(t *testing.T) string {
	catalogue, err := os.ReadFile("catalogue.txt")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	means := map[string][]string{}
	for line := range strings.Lines(string(catalogue)) {
		signal, _, ok := strings.Cut(line, "|")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(strings.TrimSpace(signal), " ")
		cue, ok := station.Lookup(session.Signal{
			Name: session.SignalName(name), Reason: session.Reason(strings.TrimSpace(reason)), Language: "en", Station: "washer", Energy: 870,
		})
		if !ok {
			t.Errorf("catalogue: got no cue for %s %s", name, reason)
		}
		sound := "none"
		if cue.Sound != "" {
			sound = "`" + cue.Sound + "`"
		}
		key := fmt.Sprintf("| `%s` | %s |", cue.Light, sound)
		if means[key] == nil {
			order = append(order, key)
		}
		if !slices.Contains(means[key], cue.Text) {
			means[key] = append(means[key], cue.Text)
		}
	}
	out := "| light | sound | means |\n| --- | --- | --- |\n"
	for _, key := range order {
		out += fmt.Sprintf("%s %s |\n", key, strings.Join(means[key], "; "))
	}
	return out
}
