package mifare

import (
	"errors"
	"fmt"
)

// ATS is a parsed answer to RATS (ISO/IEC 14443-4, 5.2). Interface bytes that
// the card left out have the values that the standard gives them.
type ATS struct {
	FSCI       byte // code of the longest frame that the card takes
	TA         byte // bit rates; 0 is 106 kbit/s only
	FWI, SFGI  byte // codes of the frame waiting and the start-up frame guard time
	TC         byte // bit 0: NAD, bit 1: CID supported
	Historical []byte
}

// ParseATS reads an ATS with TL and without CRC_A. TL must be its length: a
// card that lies about it is not believed.
func ParseATS(b []byte) (ATS, error) {
	a := ATS{FSCI: 2, FWI: 4, TC: 0x02}
	switch {
	case len(b) == 0:
		return ATS{}, errors.New("ATS is empty")
	case int(b[0]) != len(b):
		return ATS{}, fmt.Errorf("ATS of %d bytes says TL %d", len(b), b[0])
	case len(b) == 1:
		return a, nil
	}
	t0, rest := b[1], b[2:]
	a.FSCI = t0 & 0xF
	take := func(mask, missing byte) byte {
		if t0&mask == 0 || len(rest) == 0 {
			return missing
		}
		v := rest[0]
		rest = rest[1:]
		return v
	}
	if want := int(t0>>4&1 + t0>>5&1 + t0>>6&1); len(rest) < want {
		return ATS{}, fmt.Errorf("ATS ends after %d of %d interface bytes", len(rest), want)
	}
	a.TA = take(0x10, 0)
	tb := take(0x20, 0x40)
	a.FWI, a.SFGI = tb>>4, tb&0xF
	a.TC = take(0x40, a.TC)
	a.Historical = rest
	return a, nil
}
