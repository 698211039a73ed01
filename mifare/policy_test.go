package mifare_test

import (
	"fmt"
	"slices"
	"testing"

	"badged/mifare"
)

// cardOf has a UID, an ATQA that fits its size, and SAKs.
func cardOf(tb testing.TB, uid string, saks ...mifare.SAK) mifare.Card {
	tb.Helper()
	u, err := mifare.ParseUID(uid)
	if err != nil {
		tb.Fatal(err)
	}
	size := byte(u.Len()-4) / 3
	return mifare.Card{UID: u, ATQA: mifare.ATQA{0x04 | size<<6, 0}, SAKs: saks}
}

var plusXATS = []byte{0x0C, 0x75, 0x77, 0x80, 0x02, 0xC1, 0x05, 0x2F, 0x2F, 0x01, 0xBC, 0xD6}

func TestAdmission(t *testing.T) {
	std := mifare.DefaultPolicy()
	for name, tc := range map[string]struct {
		policy mifare.Policy
		card   mifare.Card
		want   mifare.Reason
	}{
		"Classic 1K":                     {std, cardOf(t, "9C599B32", 0x08), mifare.Admissible},
		"Classic 1K, 10-byte UID":        {std, cardOf(t, "0411223344556677AA80", 4, 4, 0x08), mifare.Admissible},
		"Classic 4K":                     {std, cardOf(t, "9C599B32", 0x18), mifare.Admissible},
		"Mini":                           {std, cardOf(t, "9C599B32", 0x09), mifare.Admissible},
		"2K":                             {std, cardOf(t, "9C599B32", 0x19), mifare.Admissible},
		"Infineon's bit 0x80":            {std, cardOf(t, "9C599B32", 0x88), mifare.Admissible},
		"Infineon's bit on T=CL":         {std, cardOf(t, "9C599B32", 0xB8), mifare.ReasonDualInterface},
		"T=CL":                           {std, cardOf(t, "9C599B32", 0x20), mifare.ReasonTCL},
		"SmartMX":                        {std, cardOf(t, "9C599B32", 0x28), mifare.ReasonDualInterface},
		"SmartMX where taken":            {mifare.Policy{Dual: true}, cardOf(t, "9C599B32", 0x38), mifare.Admissible},
		"SmartMX with a random UID":      {mifare.Policy{Dual: true}, cardOf(t, "08599B32", 0x28), mifare.ReasonRandomUID},
		"T=CL where SmartMX is taken":    {mifare.Policy{Dual: true}, cardOf(t, "9C599B32", 0x20), mifare.ReasonTCL},
		"phone with NFC-DEP":             {mifare.Policy{Dual: true}, cardOf(t, "9C599B32", 0x68), mifare.ReasonTCL},
		"NFC-DEP":                        {std, cardOf(t, "9C599B32", 0x40), mifare.ReasonNFCDEP},
		"NFC-DEP that says Classic":      {std, cardOf(t, "9C599B32", 0x48), mifare.ReasonNFCDEP},
		"random UID":                     {std, cardOf(t, "08599B32", 0x08), mifare.ReasonRandomUID},
		"seven bytes from 08 are fixed":  {std, cardOf(t, "08599B32112233", 4, 0x08), mifare.Admissible},
		"Ultralight":                     {std, cardOf(t, "04573CEAFEE480", 4, 0x00), mifare.ReasonUltralight},
		"four bytes and SAK 00":          {std, cardOf(t, "C5511722", 0x00), mifare.ReasonUnsupported},
		"Fudan":                          {std, cardOf(t, "C5511722", 0x0A), mifare.ReasonUnsupported},
		"Fudan, not NFC-DEP":             {std, cardOf(t, "C5511722", 0x53), mifare.ReasonUnsupported},
		"Plus SL2":                       {std, cardOf(t, "C5511722", 0x11), mifare.ReasonPlusSL2},
		"figure":                         {std, cardOf(t, "C5511722", 0x01), mifare.ReasonTNP3xxx},
		"figure where taken":             {mifare.Policy{TNP3xxx: true}, cardOf(t, "C5511722", 0x01), mifare.Admissible},
		"Plus SL1":                       {std, withATS(cardOf(t, "C5511722", 0x08), plusXATS), mifare.Admissible},
		"Plus SL1 where not taken":       {mifare.Policy{}, withATS(cardOf(t, "C5511722", 0x08), plusXATS), mifare.ReasonPlusSL1},
		"gen2 clone is a Classic":        {mifare.Policy{}, withATS(cardOf(t, "C5511722", 0x08), []byte{9, 0x78, 0, 0x91, 2, 0xDA, 0xBC, 0x19, 0x10}), mifare.Admissible},
		"cut ATS of a Plus":              {mifare.Policy{}, withATS(cardOf(t, "C5511722", 0x08), plusXATS[:11]), mifare.Admissible},
		"cascade tag for a UID":          {std, cardOf(t, "88112233", 0x08), mifare.ReasonMalformed},
		"cascade without end":            {std, cardOf(t, "0411223344556677AA80", 4, 4, 4), mifare.ReasonMalformed},
		"cascade bit beside Classic's":   {std, cardOf(t, "04112233445566", 4, 0x0C), mifare.ReasonMalformed},
		"never selected":                 {std, cardOf(t, "9C599B32"), mifare.ReasonMalformed},
		"level 1 with bit 0x20, Classic": {std, cardOf(t, "04112233445566", 0x24, 0x08), mifare.Admissible},
	} {
		t.Run(name, func(t *testing.T) {
			a := tc.policy.Admit(tc.card)
			if a.Reason != tc.want {
				t.Errorf("got reason %q, want %q", a.Reason, tc.want)
			}
			if want := verdict(tc.card, tc.want); a.Verdict != want {
				t.Errorf("got verdict %s, want %s", a.Verdict, want)
			}
		})
	}
}

func verdict(c mifare.Card, r mifare.Reason) mifare.Verdict {
	switch {
	case r == mifare.Admissible:
		return mifare.Accept
	case c.SAK().TCL():
		return mifare.RejectTCL
	}
	return mifare.RejectOther
}

func withATS(c mifare.Card, ats []byte) mifare.Card {
	c.ATS = ats
	return c
}

func TestOnlyTheWhitelistPassesOfAllSAKs(t *testing.T) {
	want := []mifare.SAK{0x08, 0x09, 0x18, 0x19, 0x88, 0x89, 0x98, 0x99}
	var got []mifare.SAK
	for s := range 256 {
		if mifare.DefaultPolicy().Admit(cardOf(t, "9C599B32", mifare.SAK(s))).Verdict == mifare.Accept {
			got = append(got, mifare.SAK(s))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got SAKs %x, want %x", got, want)
	}
}

func TestDESFireHasItsOwnReason(t *testing.T) {
	for _, uid := range []string{"045DB8A40BC080", "80ABCDEF", "08C93ABC"} {
		c := withATS(cardOf(t, uid, 0x20), []byte{0x06, 0x75, 0x77, 0x81, 0x02, 0x80})
		if a := mifare.DefaultPolicy().Admit(c); a.Reason != mifare.ReasonDESFire || a.Verdict != mifare.RejectTCL {
			t.Errorf("%s: got %s (%s), want %s", uid, a.Verdict, a.Reason, mifare.ReasonDESFire)
		}
	}
}

func TestWantsATSOnlyWhereItHelps(t *testing.T) {
	for name, tc := range map[string]struct {
		plus bool
		sak  mifare.SAK
		want bool
	}{
		"Classic, Plus taken":     {true, 0x08, false},
		"Classic, Plus not taken": {false, 0x08, true},
		"Ultralight":              {false, 0x00, false},
		"T=CL, for its name":      {true, 0x20, true},
		"cascade bit":             {false, 0x24, false},
	} {
		p := mifare.Policy{Plus: tc.plus}
		if got := p.WantsATS(cardOf(t, "9C599B32", tc.sak)); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestChooseFromAWallet(t *testing.T) {
	badge, second := cardOf(t, "9C599B32", 0x08), cardOf(t, "9C599B33", 0x18)
	bank, phone, tag := cardOf(t, "9C599B34", 0x20), cardOf(t, "9C599B35", 0x60), cardOf(t, "04573CEAFEE480", 4, 0)
	dual := cardOf(t, "9C599B36", 0x28)
	for name, tc := range map[string]struct {
		cards []mifare.Card
		want  mifare.Reason
		uid   mifare.UID
	}{
		"one badge":               {[]mifare.Card{badge}, mifare.Admissible, badge.UID},
		"badge and bank card":     {[]mifare.Card{bank, badge, phone, tag}, mifare.Admissible, badge.UID},
		"two badges":              {[]mifare.Card{badge, bank, second}, mifare.ReasonMultipleCards, mifare.UID{}},
		"three badges":            {[]mifare.Card{badge, second, badge}, mifare.ReasonMultipleCards, mifare.UID{}},
		"one badge read twice":    {[]mifare.Card{badge, badge}, mifare.Admissible, badge.UID},
		"bank card and SmartMX":   {[]mifare.Card{bank, dual}, mifare.ReasonDualInterface, dual.UID},
		"tag tells more than TCL": {[]mifare.Card{bank, tag}, mifare.ReasonUltralight, tag.UID},
	} {
		t.Run(name, func(t *testing.T) {
			var all []mifare.Admission
			for _, c := range tc.cards {
				all = append(all, mifare.DefaultPolicy().Admit(c))
			}
			for range 2 {
				got, uid := mifare.Choose(all), tc.uid
				if tc.want == mifare.ReasonMultipleCards {
					uid = all[slices.IndexFunc(all, func(a mifare.Admission) bool { return a.Verdict == mifare.Accept })].Card.UID
				}
				if got.Reason != tc.want || got.Card.UID != uid {
					t.Errorf("got %q of %s, want %q of %s", got.Reason, got.Card.UID, tc.want, uid)
				}
				if (got.Verdict == mifare.Accept) != (tc.want == mifare.Admissible) {
					t.Errorf("got verdict %s with reason %q", got.Verdict, tc.want)
				}
				slices.Reverse(all)
			}
		})
	}
	if got := mifare.Choose(nil); got.Verdict == mifare.Accept {
		t.Errorf("nothing: got %s, want no acceptance", got.Verdict)
	}
}

func TestReasonsAreStableIdentifiers(t *testing.T) {
	want := "[MultipleCards DualInterface PlusSL1 TNP3xxx PlusSL2 DESFire Ultralight TCL RandomUID NFCDEP Unsupported Malformed]"
	if got := fmt.Sprint(mifare.Reasons()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNotes(t *testing.T) {
	sizeLies := cardOf(t, "9C599B32", 0x08)
	sizeLies.ATQA = mifare.ATQA{0x44, 0x00}
	collided := sizeLies
	collided.ATQACollided = true
	noted := cardOf(t, "9C599B32", 0x20)
	noted.Notes = []mifare.Note{mifare.NoteSilentRATS}
	for name, tc := range map[string]struct {
		card mifare.Card
		want []mifare.Note
	}{
		"nothing":                     {cardOf(t, "9C599B32", 0x08), nil},
		"ATQA says seven bytes":       {sizeLies, []mifare.Note{mifare.NoteATQASize}},
		"collided ATQA says nothing":  {collided, nil},
		"CT for a UID":                {cardOf(t, "88112233", 0x08), []mifare.Note{mifare.NoteCT}},
		"CT where the UID ends":       {cardOf(t, "04112288334455", 4, 0x08), []mifare.Note{mifare.NoteCT}},
		"complete too early":          {cardOf(t, "04112233445566", 0x08, 0x08), []mifare.Note{mifare.NoteCT}},
		"levels that do not fit":      {cardOf(t, "04112233445566", 4, 4, 0x08), []mifare.Note{mifare.NoteCT}},
		"TL that lies":                {withATS(cardOf(t, "9C599B32", 0x20), []byte{0x85, 0}), []mifare.Note{mifare.NoteBadATS}},
		"what the reader noted stays": {noted, []mifare.Note{mifare.NoteSilentRATS}},
	} {
		if got := mifare.Identify(tc.card).Notes; !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
