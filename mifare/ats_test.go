package mifare_test

import (
	"bytes"
	"testing"

	"badged/mifare"
)

func TestParseATS(t *testing.T) {
	for name, tc := range map[string]struct {
		ats  string
		want mifare.ATS
		bad  bool
	}{
		"DESFire":           {"067577810280", mifare.ATS{FSCI: 5, TA: 0x77, FWI: 8, SFGI: 1, TC: 2, Historical: []byte{0x80}}, false},
		"no history":        {"0578807002", mifare.ATS{FSCI: 8, TA: 0x80, FWI: 7, SFGI: 0, TC: 2}, false},
		"TL alone":          {"01", mifare.ATS{FSCI: 2, FWI: 4, TC: 2}, false},
		"T0 alone":          {"0205", mifare.ATS{FSCI: 5, FWI: 4, TC: 2}, false},
		"TB missing":        {"045577024142"[:8], mifare.ATS{FSCI: 5, TA: 0x77, FWI: 4, TC: 2}, false},
		"JCOP, TA and TB":   {"0a3877b14a434f503331", mifare.ATS{FSCI: 8, TA: 0x77, FWI: 0xB, SFGI: 1, TC: 2, Historical: []byte("JCOP31")}, false},
		"empty":             {"", mifare.ATS{}, true},
		"TL too long":       {"8500810280", mifare.ATS{}, true},
		"TL too short":      {"0578807002AA", mifare.ATS{}, true},
		"interface bytes":   {"037077", mifare.ATS{}, true},
		"TL of zero":        {"00", mifare.ATS{}, true},
		"all bytes missing": {"0278", mifare.ATS{}, true},
	} {
		got, err := mifare.ParseATS(unhex(t, tc.ats))
		if (err != nil) != tc.bad {
			t.Errorf("%s: got error %v, want one %v", name, err, tc.bad)
		}
		if !bytes.Equal(got.Historical, tc.want.Historical) {
			t.Errorf("%s: got history % x, want % x", name, got.Historical, tc.want.Historical)
		}
		got.Historical, tc.want.Historical = nil, nil
		if got.FSCI != tc.want.FSCI || got.TA != tc.want.TA || got.FWI != tc.want.FWI || got.SFGI != tc.want.SFGI || got.TC != tc.want.TC {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add([]byte{0x9C, 0x59, 0x9B, 0x32}, []byte{0x08}, []byte{0x04, 0x00}, []byte{}, []byte{})
	f.Add([]byte{4, 1, 2, 3, 4, 5, 6}, []byte{0x24, 0x20}, []byte{0x44, 0x03}, []byte{0x06, 0x75, 0x77, 0x81, 0x02, 0x80}, []byte{4, 1, 1, 0x33, 0, 0x1A, 5})
	f.Add([]byte{4, 1, 2, 3, 4, 5, 6}, []byte{4, 0}, []byte{0x44, 0x00}, []byte{0x85}, []byte{0, 4, 4, 2, 1, 0, 0x0F, 3})
	f.Fuzz(func(t *testing.T, uid, saks, atqa, ats, version []byte) {
		u, _ := mifare.NewUID(uid)
		c := mifare.Card{UID: u, ATS: ats, Version: version}
		copy(c.ATQA[:], atqa)
		for _, s := range saks {
			c.SAKs = append(c.SAKs, mifare.SAK(s))
		}
		if a, err := mifare.ParseATS(ats); err == nil && len(a.Historical) > len(ats) {
			t.Errorf("got %d historical bytes of %d", len(a.Historical), len(ats))
		}
		a := mifare.DefaultPolicy().Admit(c)
		if a.Verdict == mifare.Accept && (c.SAK()&0x66 != 0 || c.SAK()&0x08 == 0 || u.Len() == 0) {
			t.Errorf("got %s accepted with SAK %02X", u, byte(c.SAK()))
		}
		if a.Type == "" || a.Confidence == "" {
			t.Errorf("got no type for SAK %02X", byte(c.SAK()))
		}
	})
}
