package reader_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"badged/mifare"
	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// readAs puts a card that answers as c says before the emulated chip and returns
// what the driver makes of it.
func readAs(t *testing.T, c mifare.Card) mifare.Card {
	t.Helper()
	r := newRig(t, readertest.Opts{}, func(o *reader.Opts) { o.PlusATS = true })
	r.chip.Put(mifaretest.New(mifaretest.Of(c)))
	cards := r.scan()
	if len(cards) != 1 {
		t.Fatalf("got %d cards, want 1", len(cards))
	}
	return cards[0]
}

// desfireATS is the same for all generations of DESFire.
var desfireATS = []byte{0x06, 0x75, 0x77, 0x81, 0x02, 0x80}

// heard is what is left of a card for a driver that asks T=CL cards and Classics
// for their ATS, and those with a DESFire's for their version.
func heard(c mifare.Card) mifare.Card {
	if s := c.SAK(); !s.TCL() && s != 0x08 && s != 0x18 && s != 0x19 {
		c.ATS = nil
	}
	if !bytes.Equal(c.ATS, desfireATS) {
		c.Version = nil
	}
	return c
}

func TestEveryRowOfTheTableComesThroughTheChip(t *testing.T) {
	policies := []mifare.Policy{mifare.DefaultPolicy(), {Dual: true, Plus: true, TNP3xxx: true}, {}}
	exact := 0
	for i, row := range mifare.Table() {
		t.Run(fmt.Sprintf("row %d %s", i, row.Type), func(t *testing.T) {
			c, ok := mifaretest.Example(row)
			if !ok {
				t.Fatalf("%s: no card has this row", row.Name)
			}
			got := readAs(t, c)
			id := mifare.Identify(got)
			if id.Name == row.Name && id.Confidence == row.Confidence {
				exact++
			} else if want := mifare.Identify(heard(c)); id.Name != want.Name || id.Type != want.Type {
				t.Errorf("got %s, %s (%s), want %s, %s (%s)", id.Type, id.Name, id.Confidence, row.Type, row.Name, row.Confidence)
			}
			for _, p := range policies {
				if got, want := p.Admit(got), p.Admit(heard(c)); got.Verdict != want.Verdict || got.Reason != want.Reason {
					t.Errorf("%+v: got %s %s, want %s %s", p, got.Verdict, got.Reason, want.Verdict, want.Reason)
				}
			}
		})
	}
	if total := len(mifare.Table()); exact < total-total/10 {
		t.Errorf("got %d rows of %d exactly, want nine of ten", exact, total)
	}
}

func TestPublicObservationsComeThroughTheChip(t *testing.T) {
	f, err := os.Open("../mifare/testdata/public.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var o struct{ ID, UID, ATQA, SAK, ATS, Policy, Ambiguous string }
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		t.Run(o.ID, func(t *testing.T) {
			got := mifare.DefaultPolicy().Admit(readAs(t, observed(t, o.UID, o.ATQA, o.SAK, o.ATS)))
			if string(got.Verdict) != o.Policy && o.Ambiguous == "" {
				t.Errorf("got %s (%s, %s), want %s", got.Verdict, got.Reason, got.Type, o.Policy)
			}
		})
	}
	if n != 149 {
		t.Errorf("got %d observations, want 149", n)
	}
}

// observed is a card of which only the final SAK was noted.
func observed(t *testing.T, uid, atqa, sak, ats string) mifare.Card {
	t.Helper()
	var c mifare.Card
	if err := c.UID.UnmarshalText([]byte(uid)); err != nil {
		t.Fatal(err)
	}
	raw := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c.ATQA, c.ATS = mifare.ATQA(raw(atqa)), raw(ats)
	for range (c.UID.Len() - 4) / 3 {
		c.SAKs = append(c.SAKs, 0x04)
	}
	c.SAKs = append(c.SAKs, mifare.SAK(raw(sak)[0]))
	return c
}
