package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"badged/mifare"
	"badged/session"
)

type identifyCmd struct {
	ATQA string `placeholder:"A" name:"atqa" help:"ATQA in transmission order, such as 0400."`
	SAK  string `placeholder:"S" name:"sak" help:"The final SAK, such as 08."`
	UID  string `placeholder:"U" name:"uid" help:"UID in hex."`
	ATS  string `placeholder:"X" name:"ats" help:"ATS with TL, without CRC."`
}

// Help is what --help says beside the flags.
func (identifyCmd) Help() string {
	return `Without flags, cards are read from standard input, a JSON object a line, and each is answered by a line:

    echo '{"id":"a","atqa":"0400","sak":"08","uid":"04A1B2C3"}' | badgectl identify

ats, sak_levels and desfire_version may stand there too.`
}

// observation is one card as a reader saw it, and one line of input. Fields that
// it does not have are ignored.
type observation struct {
	ID   string `json:"id"`
	UID  string `json:"uid"`
	ATQA string `json:"atqa"`
	SAK  string `json:"sak"`
	ATS  string `json:"ats"`
	// Where somebody knows more: the SAK of every level, the final one last, and
	// the answer to GetVersion without status bytes.
	SAKLevels []string `json:"sak_levels"`
	Version   string   `json:"desfire_version"`
}

// identification is one line of output; its shape is stable.
type identification struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Error says why a line of input is no card; it is refused as Malformed.
	Error string `json:"error,omitempty"`
}

// Run names one card from flags, or else one card a line from the input.
func (c *identifyCmd) Run(e *env) error {
	if *c == (identifyCmd{}) {
		return identifyLines(e.in, e.out)
	}
	card, err := observation{UID: c.UID, ATQA: c.ATQA, SAK: c.SAK, ATS: c.ATS}.card()
	if err != nil {
		return fmt.Errorf("%w\nhint: badgectl identify --atqa 0400 --sak 08 --uid 04A1B2C3", err)
	}
	a := mifare.DefaultPolicy().Admit(card)
	return e.print(identified("", a), func(w io.Writer) { printAdmission(w, a) })
}

func printAdmission(w io.Writer, a mifare.Admission) {
	fmt.Fprintf(w, "%s: %s (%s)\n", a.Type, a.Name, a.Confidence)
	if a.Verdict == mifare.Accept {
		fmt.Fprintln(w, "accept: it may be looked up in the list; a type is a claim, not a proof")
	} else {
		fmt.Fprintf(w, "%s: %s\n", a.Verdict, a.Reason)
	}
	for _, n := range a.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

func identified(id string, a mifare.Admission) identification {
	return identification{ID: id, Type: string(a.Type), Verdict: string(a.Verdict), Reason: string(a.Reason)}
}

// card makes what a reader would have reported. With an error it has what could
// be read: a card without a UID or a SAK is Malformed, and never admitted.
func (o observation) card() (c mifare.Card, err error) {
	var wrong []error
	read := func(what, text string, lengths ...int) []byte {
		b, err := bytesOf(what, text, lengths...)
		wrong = append(wrong, err)
		return b
	}
	if c.UID, err = mifare.ParseUID(o.UID); err != nil {
		wrong = append(wrong, err)
	}
	// An ATQA that nobody noted is like one that several cards sent at once.
	c.ATQACollided = o.ATQA == ""
	copy(c.ATQA[:], read("ATQA", o.ATQA, 0, 2))
	for _, s := range o.levels(c.UID) {
		if b := read("SAK", s, 1); len(b) > 0 {
			c.SAKs = append(c.SAKs, mifare.SAK(b[0]))
		}
	}
	c.ATS, c.Version = read("ATS", o.ATS), read("GetVersion", o.Version)
	return c, errors.Join(wrong...)
}

// levels are the SAKs of all levels. Where only the final one is known, those
// before it had the cascade bit.
func (o observation) levels(u mifare.UID) []string {
	if n := len(o.SAKLevels); n > 0 && strings.EqualFold(o.SAKLevels[n-1], o.SAK) {
		return o.SAKLevels
	}
	var all []string
	for range (u.Len() - 4) / 3 {
		all = append(all, "04")
	}
	return append(all, o.SAK)
}

// bytesOf reads hex of one of the lengths, or of any where none is given.
func bytesOf(what, text string, lengths ...int) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s %q: want hex digits", what, text)
	}
	for i, n := range lengths {
		if len(b) == n {
			break
		}
		if i == len(lengths)-1 {
			return nil, fmt.Errorf("%s %q: want %d hex digits", what, text, 2*n)
		}
	}
	return b, nil
}

// tokenOf is the canonical form of a UID in hex.
func tokenOf(text string) (session.IDToken, error) {
	u, err := mifare.ParseUID(text)
	return session.IDToken(u.String()), err
}
