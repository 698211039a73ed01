package mifare_test

import (
	"strings"
	"testing"

	"badged/mifare"
)

func TestReadings(t *testing.T) {
	for name, tc := range map[string]struct {
		text      string
		want      string // form=pattern, doubtful ones in brackets
		ambiguous bool
	}{
		"canonical":                  {"04A1B2C3", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"lower case":                 {"04a1b2c3", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"colons":                     {"04:A1:b2:C3", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"blanks and a line's end":    {" 04 A1 B2 C3\r\n", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"0x":                         {"0x04A1B2C3", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"hyphens between halves":     {"04A1-B2C3", "hex=04A1B2C3 (hex-reversed=C3B2A104)", false},
		"seven bytes":                {"04573CEAFEE480", "hex=04573CEAFEE480 (hex-reversed=80E4FEEA3C5704)", false},
		"seven bytes turned":         {"80E4FEEA3C5704", "hex=80E4FEEA3C5704 hex-reversed=04573CEAFEE480", true},
		"ten bytes":                  {"0411223344556677AA80", "hex=0411223344556677AA80 (hex-reversed=80AA7766554433221104)", false},
		"palindrome":                 {"A1B2B2A1", "hex=A1B2B2A1", false},
		"hex or decimal":             {"11223344", "hex=11223344 decimal=00AB4130 decimal-reversed=3041AB00 (hex-reversed=44332211)", true},
		"decimal of four bytes":      {"2864434397", "decimal=AABBCCDD decimal-reversed=DDCCBBAA", true},
		"decimal with zeros":         {"0077705923", "decimal=04A1B2C3 decimal-reversed=C3B2A104", true},
		"decimal of seven bytes":     {"1221819059070080", "decimal=04573CEAFEE480 (decimal-reversed=80E4FEEA3C5704)", false},
		"seven bytes, other order":   {"36280580521613060", "decimal-reversed=04573CEAFEE480 (decimal=80E4FEEA3C5704)", false},
		"zero dropped":               {"4112233", "zero-lost=04112233 decimal=003EBF69 decimal-reversed=69BF3E00", true},
		"zero dropped of seven":      {"4112233445566", "zero-lost=04112233445566 decimal=0003BD7436B8BE decimal-reversed=BEB83674BD0300", true},
		"seven digits with a zero":   {"0112233", "decimal=0001B669 decimal-reversed=69B60100", true},
		"BCC appended":               {"9C599B326C", "hex-bcc=9C599B32", false},
		"BCC that is none":           {"9C599B326D", "", false},
		"88 in front":                {"8804573CEAFEE480", "ct-hex=04573CEAFEE480", false},
		"BCC of the second level":    {"04573CEAFEE48070", "hex-bcc=04573CEAFEE480", false},
		"as in the memory":           {"04573CE7EAFEE480", "memory=04573CEAFEE480", false},
		"as in the memory, and BCC":  {"04573CE7EAFEE48070", "memory=04573CEAFEE480", false},
		"as in anticollision":        {"8804573CE7EAFEE48070", "cascade=04573CEAFEE480 (hex-reversed=7080E4FEEAE73C570488)", false},
		"Wiegand 26":                 {"0" + "101000011011001011000011" + "0", "wiegand-26=A1B2C3?? wiegand-26-reversed=C3B2A1??", true},
		"facility and number, 26":    {"161,45763", "wiegand-26=A1B2C3?? wiegand-26-reversed=C3B2A1?? wiegand-34=00A1B2C3 wiegand-34-reversed=C3B2A100", true},
		"facility and number, 34":    {"1185,45763", "wiegand-34=04A1B2C3 wiegand-34-reversed=C3B2A104", true},
		"bits of Wiegand 34":         {"0" + "00000100101000011011001011000011" + "1", "wiegand-34=04A1B2C3 wiegand-34-reversed=C3B2A104", true},
		"Wiegand 34 of wrong parity": {"1" + "00000100101000011011001011000011" + "1", "", false},
		"CT for a UID":               {"88112233", "decimal=05407C69 decimal-reversed=697C4005 (hex-reversed=33221188)", true},
		"nothing":                    {"", "", false},
		"words":                      {"badge of Mrs. Rossi", "", false},
		"odd digits":                 {"04A1B2C", "", false},
		"five bytes":                 {"04:A1:B2:C3:D5", "", false},
		"larger than seven bytes":    {"72057594037927936", "", false},
		"very long":                  {strings.Repeat("0", 4096), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			all := mifare.Readings(tc.text)
			if got := written(all); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if got := mifare.Ambiguous(all); got != tc.ambiguous {
				t.Errorf("got ambiguous %v, want %v", got, tc.ambiguous)
			}
		})
	}
}

func written(all []mifare.Reading) string {
	var s []string
	for _, r := range all {
		one := r.Form + "=" + r.Pattern
		if r.Doubtful {
			one = "(" + one + ")"
		}
		s = append(s, one)
	}
	return strings.Join(s, " ")
}

func TestReadUID(t *testing.T) {
	for text, want := range map[string]string{
		"04A1B2C3":         "04A1B2C3",
		"11223344":         "11223344", // canonical, though a number too
		"11:22:33:44":      "11223344",
		"9C599B326C":       "9C599B32",
		"8804573CEAFEE480": "04573CEAFEE480",
		"1221819059070080": "04573CEAFEE480",
		"2864434397":       "ambiguous",
		"1185,45763":       "ambiguous",
		"88112233":         "ambiguous",
		"4112233":          "format the column as text and write the one that is meant of 04112233 (zero-lost), 003EBF69",
		"1000072":          "01000072 (zero-lost), 000F4288 (decimal)", // 88420F00 is none
		"oyster":           "no UID",
	} {
		u, err := mifare.ReadUID(text)
		switch {
		case err == nil && u.String() != want:
			t.Errorf("%s: got %s, want %s", text, u, want)
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzReadings(f *testing.F) {
	for _, s := range []string{"04A1B2C3", "88 04573CEAFEE480", "0077705923", "161,45763", "0x", "-", "00000000000000000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := mifare.Readings(text)
		seen := map[string]bool{}
		for _, r := range all {
			if seen[r.Pattern] {
				t.Errorf("%q: got %s twice", text, r.Pattern)
			}
			seen[r.Pattern] = true
			if r.UID.Len() > 0 && r.UID.String() != r.Pattern {
				t.Errorf("%q: got %s and %s for one reading", text, r.UID, r.Pattern)
			}
		}
		if u, err := mifare.ReadUID(text); err == nil && !seen[u.String()] {
			t.Errorf("%q: got %s, want one of the readings", text, u)
		}
	})
}

func TestEveryFormOfAUIDLeadsBackToIt(t *testing.T) {
	uid, _ := mifare.ParseUID("04573CEAFEE480")
	for _, text := range []string{
		"04573CEAFEE480", "04-57-3c-ea-fe-e4-80", "80E4FEEA3C5704", "1221819059070080", "36280580521613060",
		"8804573CEAFEE480", "8804573CE7EAFEE48070", "04573CE7EAFEE48070", "04573CEAFEE48070",
	} {
		found := false
		for _, r := range mifare.Readings(text) {
			found = found || r.UID == uid
		}
		if !found {
			t.Errorf("%s: got %s, want %s among them", text, written(mifare.Readings(text)), uid)
		}
	}
}
