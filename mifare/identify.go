package mifare

import (
	"encoding/hex"
	"slices"
	"strings"
)

// Type names a kind of card: "classic-1k", "desfire-ev2", "bank-emv"; "other"
// when nothing fits.
type Type string

// Confidence says how far a Type can be trusted as the claim that it is.
type Confidence string

// Certain: no other type is known to look like this. Likely: few do. Family:
// only the family can be told from what was asked, and Type names the family or
// its most common member.
const (
	Certain Confidence = "certain"
	Likely  Confidence = "likely"
	Family  Confidence = "family"
)

// Identity is what a card claims to be.
type Identity struct {
	Type       Type
	Confidence Confidence
	Name       string // product, for people: "MIFARE Plus X"
	Notes      []Note // contradictions, the reader's and those that Identify saw
}

// Identify names the type of a card by the first row of Table that fits it.
func Identify(c Card) Identity {
	notes := contradictions(c)
	row := match(c, !slices.Contains(notes, NoteBadATS))
	return Identity{row.Type, row.Confidence, row.Name, notes}
}

// match finds the row of c; the last row fits all.
func match(c Card, believeATS bool) Row {
	var ats, hist string
	if a, err := ParseATS(c.ATS); err == nil && believeATS {
		ats, hist = upperHex(c.ATS), upperHex(a.Historical)
	}
	atqa := upperHex(c.ATQA[:])
	if c.ATQACollided {
		atqa = "" // of no card: fits only rows that do not ask
	}
	sak, uid, version := upperHex([]byte{byte(c.SAK())}), c.UID.String(), upperHex(c.Version)
	for _, r := range table {
		if fits(r.SAK, sak) && fits(r.ATQA, atqa) && fits(r.UID, uid) &&
			fits(r.ATS, ats) && fits(r.Historical, hist) && fits(r.Version, version) {
			return r
		}
	}
	return Row{Type: other, Confidence: Family}
}

// fits tells whether hex digits have a pattern's form: see Row.
func fits(pattern, digits string) bool {
	if pattern == "" {
		return true
	}
	for p := range strings.SplitSeq(pattern, "|") {
		if fitsOne(p, digits) {
			return true
		}
	}
	return false
}

func fitsOne(p, digits string) bool {
	if p == "-" {
		return digits == ""
	}
	head, open := strings.CutSuffix(p, "*")
	if len(digits) < len(head) || !open && len(digits) > len(head) {
		return false
	}
	for i := range len(head) {
		if head[i] != '?' && head[i] != digits[i] {
			return false
		}
	}
	return true
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// cascadeTag begins a level whose UID goes on (ISO/IEC 14443-3, 6.5.4).
const cascadeTag = 0x88

// contradictions lists the reader's notes and what Card itself shows.
func contradictions(c Card) []Note {
	notes := slices.Clone(c.Notes)
	add := func(n Note, seen bool) {
		if seen && !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
	}
	size := int(c.ATQA[0]>>6)*3 + 4
	add(NoteATQASize, !c.ATQACollided && size != c.UID.Len())
	add(NoteCT, tagsContradict(c))
	_, err := ParseATS(c.ATS)
	add(NoteBadATS, len(c.ATS) > 0 && err != nil)
	return notes
}

// tagsContradict looks for a cascade tag where the UID ends, and for SAKs that
// do not lead to its end.
func tagsContradict(c Card) bool {
	if n := c.UID.Len(); n > 0 && c.UID.b[n-4] == cascadeTag {
		return true
	}
	last := len(c.SAKs) - 1
	if last > 0 && last+1 != (c.UID.Len()-1)/3 {
		return true
	}
	for i, s := range c.SAKs {
		if s.Complete() != (i == last) {
			return true
		}
	}
	return false
}
