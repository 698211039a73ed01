package mifaretest

import (
	"encoding/hex"
	"fmt"
	"slices"

	"badged/mifare"
)

// kind is a row of the table of known cards, its bytes in hex.
type kind struct {
	name, uid, atqa, sak, ats string
	version                   string
	blocks, pages             int
	change                    func(*Spec)
}

// Versions of NXP ICs as GetVersion answers; UID and production data are zero.
const (
	versionEV1  = "04010101001805" + "04010101041805" + production
	versionEV2  = "04010112001A05" + "04010102011A05" + production
	versionEV3  = "04010133001A05" + "04010103001A05" + production
	versionPlus = "04020111001605" + "04020111001605" + production
	production  = "0000000000000000000000000000"
)

// kinds are the cards that Lookup knows. Values: NXP AN10833, AN10834 and the
// public observations in mifare/testdata.
func kinds() []kind {
	const ats1k = "0978009102DABC1910"
	return []kind{
		{name: "classic-mini", uid: "3A5C7E91", atqa: "0400", sak: "09", blocks: 20},
		{name: "classic-1k", uid: "9C599B32", atqa: "0400", sak: "08", blocks: 64},
		{name: "classic-2k", uid: "485FD82E", atqa: "0400", sak: "19", blocks: 128},
		{name: "classic-4k", uid: "9CFB136D", atqa: "0200", sak: "18", blocks: 256},
		{name: "classic-ev1", uid: "044494C0228B80", atqa: "4400", sak: "08", blocks: 72},
		{name: "classic-88", uid: "C51C66D3", atqa: "0400", sak: "88", blocks: 64},
		{name: "gen1a", uid: "01020304", atqa: "0400", sak: "08", blocks: 64, change: func(s *Spec) { s.Backdoor = true }},
		{name: "gen2", uid: "0487B8AAB02580", atqa: "4400", sak: "08", ats: ats1k, blocks: 64},
		{name: "plus-sl1", uid: "F35201C7", atqa: "0400", sak: "08", ats: "0C75778002C1052F2F01BCD6", blocks: 128},
		{name: "plus-sl1-4k", uid: "04C56ED89DF480", atqa: "4200", sak: "18", ats: "0C75778002C1052F2F01BCD6", blocks: 256},
		{name: "plus-ev1-sl1", uid: "04C56ED89DF481", atqa: "4400", sak: "08", ats: "0C75778002C1052F2F01BCD6", version: versionPlus, blocks: 128},
		{name: "plus-sl2", uid: "04AABBCCDD1180", atqa: "4400", sak: "10"},
		{name: "plus-sl3", uid: "0413B03DCD5280", atqa: "4400", sak: "20", ats: "0C75778002C1052F2F01BCD6"},
		{name: "tnp3xxx", uid: "21678BA2", atqa: "010F", sak: "01", blocks: 64},
		{name: "ultralight", uid: "04573CEAFEE480", atqa: "4400", sak: "00", pages: 16},
		{name: "ultralight-ev1", uid: "040E11C75C5C91", atqa: "4400", sak: "00", pages: 20, version: "0004030101000B03"},
		{name: "ntag21x", uid: "04E7C36997FE79", atqa: "4400", sak: "00", pages: 45, version: "0004040201000F03"},
		{name: "ntag4xx", uid: "04195B98F85890", atqa: "4403", sak: "20", ats: "067777710280", version: "04040230001105" + "04040201021105" + production},
		{name: "desfire", uid: "045DB8A40BC080", atqa: "4403", sak: "20", ats: "067577810280"},
		{name: "desfire-ev1", uid: "0426DF47D83C80", atqa: "4403", sak: "20", ats: "067577810280", version: versionEV1},
		{name: "desfire-ev2", uid: "0498290CC1FB80", atqa: "4403", sak: "20", ats: "067577810280", version: versionEV2},
		{name: "desfire-ev3", uid: "0444820B6D3D80", atqa: "4403", sak: "20", ats: "067577810280", version: versionEV3},
		{name: "desfire-random", uid: "08C93ABC", atqa: "0403", sak: "20", ats: "067577810280", version: versionEV2, change: randomUID},
		{name: "smartmx-classic", uid: "5D97B4F5", atqa: "0400", sak: "28", ats: "107880900220900000000000" + "5D97B4F5", blocks: 64},
		{name: "smartmx-classic-4k", uid: "976D2DE2", atqa: "0200", sak: "38", ats: "0A3877B14A434F503331", blocks: 256},
		{name: "phone-hce", uid: "08E8419C", atqa: "0400", sak: "20", ats: "0578807002", change: randomUID},
		{name: "nfc-dep", uid: "0831ABA8", atqa: "0400", sak: "40", change: randomUID},
		{name: "bank-emv", uid: "A113B341", atqa: "0400", sak: "20", ats: "14788070020031C173C8211064414D3137079000"},
		{name: "passport-epassport", uid: "086CD767", atqa: "0400", sak: "20", ats: "14788070028091E1319865B0850300EF739441C0", change: randomUID},
		{name: "seos", uid: "0872573B", atqa: "0100", sak: "20", ats: "0578778002", change: randomUID},
		{name: "fudan-0a", uid: "A0FF9489", atqa: "0500", sak: "0A"},
		{name: "triple-size", uid: "0411223344556677AA80", atqa: "8400", sak: "08", blocks: 64},
		{name: "bad-bcc", uid: "DEADBEEF", atqa: "0400", sak: "08", change: func(s *Spec) { s.BadBCC = true }},
		{name: "bad-sak-crc", uid: "DEADBEE0", atqa: "0400", sak: "08", change: func(s *Spec) { s.BadCRC = true }},
		{name: "endless-cascade", uid: "0411223344556677AA81", atqa: "8400", sak: "04"},
		{name: "ct-complete", uid: "88123456", atqa: "0400", sak: "08"},
		{name: "cascade-without-ct", uid: "12345678", atqa: "0400", sak: "04"},
		{name: "short-atqa", uid: "DEADBEE1", atqa: "04", sak: "08"},
		{name: "bad-ats", uid: "04E9E7F42B4980", atqa: "4400", sak: "20", ats: "8500810280010203"},
		{name: "silent-ats", uid: "51215B0F", atqa: "4403", sak: "20"},
	}
}

func randomUID(s *Spec) { s.RandomUID = true }

// Kinds lists the names that Lookup knows: types of package mifare, variants
// of them, clones and malformed cards.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// Lookup returns a card of a kind with an example's UID.
func Lookup(name string) (Spec, error) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return Spec{}, fmt.Errorf("no kind of card %q, want one of %v", name, Kinds())
	}
	k := all[i]
	uid, err := mifare.ParseUID(k.uid)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{UID: uid, ATQA: unhex(k.atqa), SAK: unhex(k.sak)[0], ATS: unhex(k.ats),
		Version: unhex(k.version), Blocks: k.blocks, Pages: k.pages}
	if k.change != nil {
		k.change(&s)
	}
	return s, nil
}

// Of is a card that looks to a reader as c says. It has a Classic or an
// Ultralight memory if its SAK claims one.
func Of(c mifare.Card) Spec {
	s := Spec{UID: c.UID, ATQA: c.ATQA[:], SAK: byte(c.SAK()), ATS: c.ATS, Version: c.Version}
	if len(c.SAKs) > 1 {
		for _, v := range c.SAKs {
			s.SAKs = append(s.SAKs, byte(v))
		}
	}
	switch c.SAK() & 0x1B {
	case 0x08:
		s.Blocks = 64
	case 0x09:
		s.Blocks = 20
	case 0x18:
		s.Blocks = 256
	case 0x19:
		s.Blocks = 128
	case 0x00:
		if c.SAK() == 0 {
			s.Pages = 16
		}
	}
	return s
}

// unhex is for the constants of this package, which a test reads all.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
