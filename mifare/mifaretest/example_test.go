package mifaretest_test

import (
	"testing"

	"badged/mifare"
	"badged/mifare/mifaretest"
)

func TestEveryRowOfTheTableCanBeReached(t *testing.T) {
	for i, r := range mifare.Table() {
		c, ok := mifaretest.Example(r)
		if !ok {
			t.Errorf("row %d, %s (%s): got no card that it names, want one", i, r.Type, r.Name)
			continue
		}
		if got := mifare.Identify(read(t, c)); got.Type != r.Type || got.Name != r.Name {
			t.Errorf("row %d: virtual card got %s (%s), want %s (%s)", i, got.Type, got.Name, r.Type, r.Name)
		}
	}
}

func TestKindsThatAreTypesAreNamedSo(t *testing.T) {
	types := map[mifare.Type]bool{}
	for _, r := range mifare.Table() {
		types[r.Type] = true
	}
	named := 0
	for _, kind := range mifaretest.Kinds() {
		if !types[mifare.Type(kind)] {
			continue
		}
		named++
		s, err := mifaretest.Lookup(kind)
		if err != nil {
			t.Fatal(err)
		}
		c := mifare.Card{UID: s.UID, ATQA: mifare.ATQA(s.ATQA), SAKs: []mifare.SAK{mifare.SAK(s.SAK)}, ATS: s.ATS, Version: s.Version}
		if got := mifare.Identify(read(t, c)).Type; string(got) != kind {
			t.Errorf("got %s, want %s", got, kind)
		}
	}
	if named < 18 {
		t.Errorf("got %d kinds that are types, want 18 or more", named)
	}
}

// read selects the virtual card that c describes, and asks for its ATS and its
// version as a reader does.
func read(t *testing.T, c mifare.Card) mifare.Card {
	t.Helper()
	card := mifaretest.New(mifaretest.Of(c))
	card.Power(true)
	r, _ := card.Answer(wupa)
	got := mifare.Card{UID: card.UID(), ATQA: mifare.ATQA(r.Data)}
	for _, s := range choose(t, card) {
		got.SAKs = append(got.SAKs, mifare.SAK(s))
	}
	if got.SAK() == 0 {
		if r, ok := card.Answer(sealed(0x60)); ok && r.Bits > 4 {
			got.Version, _ = mifare.CutCRCA(r.Data)
			return got
		}
		card.Answer(wupa)
		choose(t, card)
	}
	ats, ok := card.Answer(rats)
	if !ok {
		return got
	}
	got.ATS, _ = mifare.CutCRCA(ats.Data)
	ask, block := byte(0x60), byte(0)
	for range 3 {
		r, _ := card.Answer(sealed(0x02|block, 0x90, ask, 0, 0, 0))
		b, _ := mifare.CutCRCA(r.Data)
		if len(b) < 4 || b[len(b)-2] != 0x91 || b[len(b)-1] != 0xAF && b[len(b)-1] != 0 {
			break
		}
		got.Version = append(got.Version, b[1:len(b)-2]...)
		ask, block = 0xAF, block^1
	}
	return got
}
