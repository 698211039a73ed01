package main

import (
	"encoding/hex"
	"fmt"
	"slices"

	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/mifare/mifaretest"
)

// deskCard is a card that lies beside the desk's reader. Its ATQA, SAK and ATS
// are those of its kind, as read off real cards; the UIDs are made up.
type deskCard struct {
	UID, Kind string // a kind of mifaretest
}

var deskCards = []deskCard{
	{"04A1B2C3", "classic-1k"},        // Anna's badge: laundry and charging
	{"9CFB136D", "classic-4k"},        // Anna's second badge, same account
	{"30949AD1", "classic-1k"},        // Bruno's badge: laundry
	{"044494C0228B80", "classic-ev1"}, // Claire's badge: charging
	{"485FD82E", "classic-2k"},        // a lost badge, blocked
	{"5A3C7E11", "classic-1k"},        // the caretaker's master badge
	{"6B4D8F22", "classic-1k"},        // the technician's service badge
	{"7C5E9033", "classic-1k"},        // a gym badge that its owner registered
	{"8D6FA144", "classic-1k"},        // a badge that is on no list
	{"0426DF47D83C80", "desfire-ev1"}, // a travel card, DESFire EV1
	{"0437125BED7B80", "bank-emv"},    // a bank card
	{"08E8419C", "phone-hce"},         // a phone with a wallet, its UID is random
	{"5D97B4F5", "smartmx-classic"},   // a CPU card that also speaks Classic
	{"04E7C36997FE79", "ntag21x"},     // an NTAG sticker
}

// virtualCard makes a card for the field: of the kind that c names, else of the
// desk's card with that UID, else a Classic 1K. What c says beyond that wins.
func virtualCard(c control.Card) (mifaretest.PICC, error) {
	uid, err := mifare.ParseUID(c.UID)
	if err != nil {
		return nil, err
	}
	spec, err := mifaretest.Lookup(kindOf(c.Type, uid))
	if err != nil {
		return nil, err
	}
	if len(spec.ATQA) == 2 && uid.Len() != spec.UID.Len() {
		spec.ATQA[0] = spec.ATQA[0]&0x3F | byte((uid.Len()-4)/3)<<6 // the UID's size: 40 double, 80 triple
	}
	spec.UID, spec.RandomUID = uid, false
	if err := override(&spec, c); err != nil {
		return nil, err
	}
	return mifaretest.New(spec), nil
}

func kindOf(typ string, uid mifare.UID) string {
	if typ != "" {
		return typ
	}
	if i := slices.IndexFunc(deskCards, func(d deskCard) bool { return d.UID == uid.String() }); i >= 0 {
		return deskCards[i].Kind
	}
	return "classic-1k"
}

// override puts what the caller says in place of what the kind says.
func override(spec *mifaretest.Spec, c control.Card) error {
	if c.ATQA != "" {
		b, err := hex.DecodeString(c.ATQA)
		if err != nil || len(b) != 2 {
			return fmt.Errorf("ATQA %q: want 4 hex digits in transmission order, such as 0400", c.ATQA)
		}
		spec.ATQA = b
	}
	if c.SAK != "" {
		b, err := hex.DecodeString(c.SAK)
		if err != nil || len(b) != 1 {
			return fmt.Errorf("SAK %q: want 2 hex digits, such as 08", c.SAK)
		}
		spec.SAK, spec.SAKs = b[0], nil
	}
	if c.ATS != "" {
		b, err := hex.DecodeString(c.ATS)
		if err != nil {
			return fmt.Errorf("ATS %q: want hex digits, with TL and without CRC", c.ATS)
		}
		spec.ATS = b
	}
	return nil
}
