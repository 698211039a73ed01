package mifare_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"badged/mifare"
)

// observation is a line of testdata/public.jsonl.
type observation struct {
	ID, UID, ATQA, SAK, ATS string
	SAKLevels               []string `json:"sak_levels"`
	Version                 string   `json:"desfire_version"`
	Truth                   mifare.Type
	Policy                  mifare.Verdict
	Ambiguous               string
}

func observations(tb testing.TB) []observation {
	tb.Helper()
	f, err := os.Open("testdata/public.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []observation
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var o observation
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			tb.Fatal(err)
		}
		all = append(all, o)
	}
	if len(all) != 149 {
		tb.Fatalf("got %d observations, want 149", len(all))
	}
	return all
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// card is what a reader would have made of the observation.
func (o observation) card(tb testing.TB) mifare.Card {
	tb.Helper()
	uid, err := mifare.ParseUID(o.UID)
	if err != nil {
		tb.Fatal(err)
	}
	c := mifare.Card{UID: uid, ATQA: mifare.ATQA(unhex(tb, o.ATQA)), ATS: unhex(tb, o.ATS), Version: unhex(tb, o.Version)}
	levels := o.SAKLevels
	if len(levels) == 0 {
		levels = []string{o.SAK}
	}
	for _, s := range levels {
		c.SAKs = append(c.SAKs, mifare.SAK(unhex(tb, s)[0]))
	}
	return c
}

func TestPublicObservationsAreJudgedRight(t *testing.T) {
	for _, o := range observations(t) {
		a := mifare.DefaultPolicy().Admit(o.card(t))
		if a.Verdict != o.Policy && o.Ambiguous == "" {
			t.Errorf("%s %s: got %s (%s), want %s", o.ID, o.Truth, a.Verdict, a.Reason, o.Policy)
		}
		if (a.Verdict == mifare.Accept) != (a.Reason == mifare.Admissible) {
			t.Errorf("%s: got %s with reason %q", o.ID, a.Verdict, a.Reason)
		}
	}
}

// indistinct maps types to the one that has the same answers: what the
// observations hold cannot tell them apart.
var indistinct = map[mifare.Type]mifare.Type{
	"ntag21x": "ultralight", "ultralight-ev1": "ultralight", "ultralight-c": "ultralight",
	"desfire-ev1": "desfire", "desfire-ev2": "desfire", "desfire-ev3": "desfire",
	"classic-ev1": "classic-1k",
}

func TestPublicObservationsAreNamedRight(t *testing.T) {
	exact := 0
	for _, o := range observations(t) {
		got := mifare.Identify(o.card(t))
		switch {
		case got.Type == o.Truth:
			exact++
		case got.Type == indistinct[o.Truth] && got.Confidence != mifare.Certain:
		case o.ID == "c0083" && got.Type == "classic-2k": // a 1K clone with the SAK of a 2K
		default:
			t.Errorf("%s: got %s (%s), want %s", o.ID, got.Type, got.Name, o.Truth)
		}
		if got.Confidence == mifare.Certain && got.Type != o.Truth {
			t.Errorf("%s: got %s as certain, want %s", o.ID, got.Type, o.Truth)
		}
	}
	if exact < 118 {
		t.Errorf("got %d types exactly, want 118 or more", exact)
	}
}

// BenchmarkIdentify reports beside its speed how well the public observations
// can be named.
func BenchmarkIdentify(b *testing.B) {
	var cards []mifare.Card
	count := map[mifare.Confidence]int{}
	for _, o := range observations(b) {
		c := o.card(b)
		cards = append(cards, c)
		count[mifare.Identify(c).Confidence]++
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		mifare.Identify(cards[n%len(cards)])
		n++
	}
	for _, c := range []mifare.Confidence{mifare.Certain, mifare.Likely, mifare.Family} {
		b.ReportMetric(float64(count[c]), "types-"+string(c))
	}
	types := map[mifare.Type]bool{}
	for _, r := range mifare.Table() {
		types[r.Type] = true
	}
	b.ReportMetric(float64(len(types)), "types-known")
	b.ReportMetric(float64(len(mifare.Table())), "rows")
}

func TestTableIsWellFormed(t *testing.T) {
	for i, r := range mifare.Table() {
		if r.Type == "" || r.Confidence == "" || r.Name == "" || r.Source == "" {
			t.Errorf("row %d: got %+v, want type, confidence, name and source", i, r)
		}
		for _, p := range []string{r.SAK, r.ATQA, r.UID, r.ATS, r.Historical, r.Version} {
			for one := range strings.SplitSeq(p, "|") {
				if strings.Trim(strings.TrimSuffix(one, "*"), "0123456789ABCDEF?") != "" && one != "-" {
					t.Errorf("row %d: got pattern %q, want upper-case hex", i, one)
				}
			}
		}
	}
}
