package mifare

import "strings"

// Verdict is what becomes of a card, before anybody looks at the list.
type Verdict string

// T=CL cards are refused with a verdict of their own: a wrong kind of badge,
// not an unknown one.
const (
	Accept      Verdict = "accept"
	RejectTCL   Verdict = "reject-tcl"
	RejectOther Verdict = "reject-other"
)

// Reason says why a card is refused. The values never change: people see a
// text for each, and integrators count them.
type Reason string

// The reasons, the most telling first: what is nearly a badge before what is
// none at all.
const (
	Admissible          Reason = ""
	ReasonMultipleCards Reason = "MultipleCards" // two admissible badges at once
	ReasonDualInterface Reason = "DualInterface" // T=CL with a Classic beside it
	ReasonPlusSL1       Reason = "PlusSL1"       // the site takes no MIFARE Plus
	ReasonTNP3xxx       Reason = "TNP3xxx"       // the site takes no toy figures
	ReasonPlusSL2       Reason = "PlusSL2"
	ReasonDESFire       Reason = "DESFire"
	ReasonUltralight    Reason = "Ultralight" // or NTAG
	ReasonTCL           Reason = "TCL"        // bank card, passport, phone …
	ReasonRandomUID     Reason = "RandomUID"  // another UID at every tap
	ReasonNFCDEP        Reason = "NFCDEP"
	ReasonUnsupported   Reason = "Unsupported"
	ReasonMalformed     Reason = "Malformed" // contradicts itself
)

// Reasons lists every reason for a refusal, the most telling first.
func Reasons() []Reason {
	return []Reason{
		ReasonMultipleCards, ReasonDualInterface, ReasonPlusSL1, ReasonTNP3xxx, ReasonPlusSL2, ReasonDESFire,
		ReasonUltralight, ReasonTCL, ReasonRandomUID, ReasonNFCDEP, ReasonUnsupported, ReasonMalformed,
	}
}

// Policy is what a site takes beside MIFARE Classic. A stricter Policy run on
// the same cards, its answers only counted, shows what it would refuse.
type Policy struct {
	Dual    bool // SmartMX and JCOP with Classic, SAK 28 and 38
	Plus    bool // MIFARE Plus in SL1; without it readers must ask for the ATS: see WantsATS
	TNP3xxx bool // toy figures with Crypto1
}

// DefaultPolicy takes MIFARE Classic, and MIFARE Plus in SL1.
func DefaultPolicy() Policy { return Policy{Plus: true} }

// Admission is the judgement of one card. A type is a claim: Accept says that
// the card may be looked up, not that it is genuine.
type Admission struct {
	Card Card
	Identity
	Verdict Verdict
	Reason  Reason // Admissible if and only if Verdict is Accept
}

// Admit judges one card, by its final SAK; the ATQA never decides.
func (p Policy) Admit(c Card) Admission {
	id := Identify(c)
	a := Admission{Card: c, Identity: id, Verdict: RejectOther, Reason: p.reason(c, id)}
	switch {
	case a.Reason == Admissible:
		a.Verdict = Accept
	case c.SAK().TCL():
		a.Verdict = RejectTCL
	}
	return a
}

// reason is the first ground for a refusal.
func (p Policy) reason(c Card, id Identity) Reason {
	if malformed(c) {
		return ReasonMalformed
	}
	r := p.bySAK(c.SAK(), id.Type)
	switch {
	case r != Admissible:
		return r
	case c.UID.Len() == 4 && c.UID.b[0] == 0x08:
		return ReasonRandomUID
	case id.Type == plusSL1 && !p.Plus:
		return ReasonPlusSL1
	}
	return Admissible
}

// malformed cards have no final SAK, no UID, or a cascade tag for one.
func malformed(c Card) bool {
	return len(c.SAKs) == 0 || !c.SAK().Complete() || c.UID.Len() == 0 ||
		c.UID.Len() == 4 && c.UID.b[0] == cascadeTag
}

// bySAK is a whitelist on the final SAK. Bit 0x20 decides whatever else is set;
// bit 0x80 says nothing of the type (Infineon sets it).
func (p Policy) bySAK(s SAK, t Type) Reason {
	switch s := s &^ 0x80; {
	case s == 0x28 || s == 0x38:
		if p.Dual {
			return Admissible
		}
		return ReasonDualInterface
	case s.TCL() && strings.HasPrefix(string(t), string(desfire)):
		return ReasonDESFire
	case s.TCL():
		return ReasonTCL
	case s&0x02 != 0: // outside NXP's coding: Fudan's 0A and 53
		return ReasonUnsupported
	case s&sakNFCDEP != 0:
		return ReasonNFCDEP
	case s == 0x08 || s == 0x09 || s == 0x18 || s == 0x19, s == 0x01 && p.TNP3xxx:
		return Admissible
	case s == 0x01:
		return ReasonTNP3xxx
	case s == 0x10 || s == 0x11:
		return ReasonPlusSL2
	case s == 0x00 && t != other:
		return ReasonUltralight
	}
	return ReasonUnsupported
}

// WantsATS tells whether RATS may change the judgement of c or give a refused
// card its name. A reader that asks must deselect the card, or cycle the field,
// before anything else.
func (p Policy) WantsATS(c Card) bool {
	switch s := c.SAK(); {
	case malformed(c):
		return false
	case s.TCL():
		return true
	default:
		return !p.Plus && p.bySAK(s, "") == Admissible
	}
}

// Choose judges a wallet: the one admissible card among any others; two of
// them, unless they have the same UID, are refused rather than billing
// whichever answered first, and the first one is named; without any, the most
// telling refusal stands.
// Choose of nothing is the zero Admission, which admits nobody.
func Choose(all []Admission) Admission {
	var best Admission
	for i, a := range all {
		switch {
		case i == 0, rank(a.Reason) < rank(best.Reason):
			best = a
		case a.Reason == Admissible && best.Reason == Admissible && a.Card.UID != best.Card.UID:
			best.Verdict, best.Reason = RejectOther, ReasonMultipleCards
			return best
		}
	}
	return best
}

// rank orders reasons, Admissible first.
func rank(r Reason) int {
	for i, known := range Reasons() {
		if r == known {
			return i + 1
		}
	}
	return 0
}
