package mifare

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reading is one way to understand a written UID.
type Reading struct {
	// Form names the way: "hex", "hex-reversed", "hex-bcc", "ct-hex", "cascade",
	// "memory", "zero-lost", "decimal", "decimal-reversed", "wiegand-34",
	// "wiegand-34-reversed", "wiegand-26", "wiegand-26-reversed".
	Form string
	// UID is the zero UID if the form has lost bytes: see Pattern.
	UID UID
	// Pattern is the UID in canonical form, with ?? for what the form has lost.
	Pattern string
	// Doubtful readings are right only if somebody turned the bytes round.
	Doubtful bool
}

// Readings lists every way to understand text as a UID, without repetition,
// the canonical form first; none if it is no UID at all. Hex may have any
// separators and a 0x in front, and may have lost a zero there, as it does in a
// spreadsheet; decimals are of four or seven bytes; a facility code and a number (123,45678) or the bits with their parity are Wiegand.
func Readings(text string) []Reading {
	text = strings.TrimSpace(text)
	if len(text) > 128 {
		return nil
	}
	var all []Reading
	all = append(all, hexReadings(text)...)
	all = append(all, zeroLost(text)...)
	all = append(all, decimalReadings(text)...)
	all = append(all, wiegandReadings(text)...)
	slices.SortStableFunc(all, func(a, b Reading) int { return doubt(a) - doubt(b) })
	return distinct(all)
}

func doubt(r Reading) int {
	if r.Doubtful {
		return 1
	}
	return 0
}

// distinct keeps the first reading of each pattern.
func distinct(all []Reading) []Reading {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(r Reading) bool {
		again := seen[r.Pattern]
		seen[r.Pattern] = true
		return again
	})
}

// Ambiguous tells whether more than one of the readings is to be taken seriously.
func Ambiguous(all []Reading) bool { return len(serious(all)) > 1 }

func serious(all []Reading) []Reading {
	return slices.DeleteFunc(slices.Clone(all), func(r Reading) bool { return r.Doubtful })
}

// ReadUID returns the one UID that text can mean. The canonical form means
// itself, even where its digits could be a decimal number too; anything else
// that is ambiguous or incomplete is an error that says what it may be.
func ReadUID(text string) (UID, error) {
	text = strings.TrimSpace(text)
	if u, err := ParseUID(text); err == nil && !startsWithCT(u) {
		return u, nil
	}
	all := serious(Readings(text))
	var forms []string
	for _, r := range all {
		forms = append(forms, r.Pattern+" ("+r.Form+")")
	}
	switch {
	case len(all) == 0:
		return UID{}, fmt.Errorf("%.40q is no UID: write 8, 14 or 20 hex digits", text)
	case len(zeroLost(text)) > 0:
		return UID{}, fmt.Errorf("%.40q is ambiguous: a spreadsheet drops the zero in front of a number, so format the column as text and write the one that is meant of %s",
			text, strings.Join(forms, ", "))
	case len(all) > 1:
		return UID{}, fmt.Errorf("%.40q is ambiguous: write the one that is meant of %s", text, strings.Join(forms, ", "))
	case all[0].UID == UID{}:
		return UID{}, fmt.Errorf("%.40q is only a part of a UID, %s: read the badge at a reader", text, forms[0])
	}
	return all[0].UID, nil
}

// whole is a reading with all its bytes; nothing if b is no possible UID.
func whole(form string, b []byte, doubtful bool) []Reading {
	u, err := NewUID(b)
	if err != nil || startsWithCT(u) {
		return nil
	}
	return []Reading{{Form: form, UID: u, Pattern: u.String(), Doubtful: doubtful}}
}

func startsWithCT(u UID) bool { return u.Len() > 0 && u.b[0] == cascadeTag }

// bothWays reads b in wire order and turned round. Seven bytes begin with the
// manufacturer, and 04 is NXP: where only one end has it, that speaks for one way.
func bothWays(form string, b []byte, turnedDoubtful bool) []Reading {
	turned := slices.Clone(b)
	slices.Reverse(turned)
	straightDoubtful := false
	if len(b) == 7 && b[0] == 0x04 {
		turnedDoubtful = true
	} else if len(b) == 7 && b[6] == 0x04 {
		straightDoubtful, turnedDoubtful = !turnedDoubtful, false
	}
	return append(whole(form, b, straightDoubtful), whole(form+"-reversed", turned, turnedDoubtful)...)
}

// hexReadings reads hex digits with separators between them or none.
func hexReadings(text string) []Reading {
	b, ok := cutHex(text)
	if !ok {
		return nil
	}
	return append(bothWays("hex", b, true), wrapped(b)...)
}

// wrapped reads the forms that carry more than the UID: its BCC, its cascade
// tag, both of them as in anticollision, or pages 0 to 2 of an Ultralight. The
// check bytes must come out.
func wrapped(b []byte) []Reading {
	part := func(form string, pieces ...[]byte) []Reading {
		return whole(form, slices.Concat(pieces...), false)
	}
	switch n := len(b); {
	case n == 5 && xor(b) == 0:
		return part("hex-bcc", b[:4])
	case n == 8 && b[0] == cascadeTag:
		return part("ct-hex", b[1:])
	case n == 8 && xor(b[3:]) == 0:
		return part("hex-bcc", b[:7])
	case (n == 8 || n == 9 && xor(b[4:]) == 0) && xor(b[:4]) == cascadeTag:
		return part("memory", b[:3], b[4:8])
	case n == 10 && b[0] == cascadeTag && xor(b[:5]) == 0 && xor(b[5:]) == 0:
		return part("cascade", b[1:4], b[5:9])
	}
	return nil
}

func xor(b []byte) (v byte) {
	for _, c := range b {
		v ^= c
	}
	return v
}

// cutHex takes the digits of text: pairs with separators, or all in one piece.
func cutHex(text string) ([]byte, bool) {
	if len(text) > 1 && (text[:2] == "0x" || text[:2] == "0X") {
		text = text[2:]
	}
	pieces := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t:-._,;/", r) })
	for _, p := range pieces {
		if len(p)%2 == 1 {
			return nil, false
		}
	}
	b, err := hex.DecodeString(strings.Join(pieces, ""))
	return b, err == nil && len(b) > 0
}

// zeroLost reads a UID of decimal digits alone that a spreadsheet took for a number:
// one digit is missing of four or seven bytes. Those of ten it rounds.
func zeroLost(text string) []Reading {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || text[0] == '0' || len(text) != 7 && len(text) != 13 {
		return nil
	}
	b, err := hex.DecodeString("0" + text)
	if err != nil {
		return nil
	}
	return whole("zero-lost", b, false)
}

// decimalReadings reads a number of four bytes, or a larger one of seven. Which
// end is first is anybody's guess.
func decimalReadings(text string) []Reading {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64(nil, n)
	switch {
	case n < 1<<32:
		return bothWays("decimal", b[4:], false)
	case n < 1<<56:
		return bothWays("decimal", b[1:], false)
	}
	return nil
}
