package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// The page of the manual has every flag, and no other.
func TestManualHasEveryFlag(t *testing.T) {
	p, err := kong.New(&cli{}, kong.Name("badged"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../debian/badged.8")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\-`, "-")
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^\.TP\n\.B.*"?--([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	for _, f := range p.Model.Flags {
		if f.Name == "help" {
			continue
		}
		want = append(want, f.Name)
		if !strings.Contains(text, strings.ReplaceAll(f.Help, "$$", "$")) {
			t.Errorf("debian/badged.8: got no %q, want the help of --%s", f.Help, f.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("debian/badged.8: got %v, want %v", got, want)
	}
}
