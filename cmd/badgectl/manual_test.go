package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// The page of the manual has every verb with the words of its help, and no other.
func TestManualHasEveryVerb(t *testing.T) {
	p, err := kong.New(&cli{}, kong.Name("badgectl"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, verb := range p.Model.Leaves(true) {
		want[strings.TrimPrefix(verb.FullPath(), "badgectl ")] = verb.Help
	}
	page, err := os.ReadFile("../../debian/badgectl.1")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, _ := strings.Cut(strings.ReplaceAll(string(page), `\-`, "-"), "\n.SH COMMANDS\n")
	commands, _, _ = strings.Cut(commands, "\n.SH ")
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\.TP\n\.B (.+)\n(.+)$`).FindAllStringSubmatch(commands, -1) {
		got[m[1]] = m[2]
	}
	for verb := range got {
		if _, ok := want[verb]; !ok {
			t.Errorf("debian/badgectl.1: got %s, which is no verb", verb)
		}
	}
	for verb, help := range want {
		if got[verb] != help {
			t.Errorf("debian/badgectl.1: %s: got %q, want %q", verb, got[verb], help)
		}
	}
}
