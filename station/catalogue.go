package station

import (
	_ "embed" // catalogue.txt
	"fmt"
	"strings"
	"time"

	"badged/session"
)

//go:embed catalogue.txt
var catalogue string

// languages are the catalogue's, in the order of its columns.
var languages = [...]string{"de", "fr", "it", "en"}

// Cue is what a panel shows for a signal. Light and Sound have one sign for each
// 100 ms: G green, R red, Y both, # buzzer, '.' nothing.
type Cue struct {
	Light, Sound, Text string
}

// Lookup returns the catalogue's cue for a signal, its text in the signal's
// language, or in English where that is none of de, fr, it and en. Without a row
// for the reason of a refusal it returns a refusal without one, and false.
func Lookup(s session.Signal) (Cue, bool) {
	if s.Name != session.SignalRefused {
		s.Reason = ""
	}
	var plain Cue
	for line := range strings.Lines(catalogue) {
		name, reason, row := parseRow(line)
		if row == nil || name != string(s.Name) { // nil is a comment
			continue
		}
		if reason == string(s.Reason) {
			return row.cue(s), true
		}
		if reason == "" {
			plain = row.cue(s)
		}
	}
	return plain, false
}

// row is a row of the catalogue behind its signal: light, sound, texts.
type row []string

func parseRow(line string) (name, reason string, r row) {
	fields := strings.Split(strings.TrimSpace(line), "|")
	if strings.HasPrefix(line, "#") || len(fields) != 3+len(languages) {
		return "", "", nil
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	name, reason, _ = strings.Cut(fields[0], " ")
	return name, strings.TrimSpace(reason), fields[1:]
}

func (r row) cue(s session.Signal) Cue {
	text := r[len(r)-1]
	for i, l := range languages {
		if l == s.Language {
			text = r[2+i]
		}
	}
	text = strings.NewReplacer("{station}", s.Station, "{energy}", energy(s.Energy, s.Language), "{free}", freeIn(s)).Replace(text)
	return Cue{Light: r[0], Sound: r[1], Text: text}
}

// freeIn is what an occupied station's text ends with where it is known when it
// is free: ", free in 25 min".
func freeIn(s session.Signal) string {
	if s.FreeIn <= 0 {
		return ""
	}
	phrase := map[string]string{"de": "frei in", "fr": "libre dans", "it": "libero fra"}[s.Language]
	if phrase == "" {
		phrase = "free in"
	}
	return fmt.Sprintf(", %s %d min", phrase, (s.FreeIn+time.Minute-1)/time.Minute)
}

// energy writes Wh as kWh, with the language's decimal sign.
func energy(wh int64, language string) string {
	s := fmt.Sprintf("%.2f kWh", float64(wh)/1000)
	switch language {
	case "de", "fr", "it":
		return strings.Replace(s, ".", ",", 1)
	}
	return s
}
