package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
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

// observation is one card as a reader saw it, and one line of input.
type observation struct {
	ID   string `json:"id"`
	UID  string `json:"uid"`
	ATQA string `json:"atqa"`
	SAK  string `json:"sak"`
	ATS  string `json:"ats"`
}

// identification is one line of output; its shape is stable.
type identification struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
}

// Run names one card from flags, or else one card a line from the input.
func (c *identifyCmd) Run(e *env) error {
	if *c == (identifyCmd{}) {
		return identifyLines(e.in, e.out)
	}
	card, err := observation{UID: c.UID, ATQA: c.ATQA, SAK: c.SAK, ATS: c.ATS}.card()
	if err != nil {
		return err
	}
	a := mifare.DefaultPolicy().Admit(card)
	return e.print(identified("", a), func(w io.Writer) { printAdmission(w, a) })
}

func printAdmission(w io.Writer, a mifare.Admission) {
	name := a.Name
	if name == "" {
		name = "unknown kind of card"
	}
	fmt.Fprintf(w, "%s: %s (%s)\n", a.Type, name, a.Confidence)
	if a.Verdict == mifare.Accept {
		fmt.Fprintln(w, "accept: it may be looked up in the list; a type is a claim, not a proof")
	} else {
		fmt.Fprintf(w, "%s: %s\n", a.Verdict, a.Reason)
	}
	for _, n := range a.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// maxLine bounds a line of input; no card is longer than some hundred bytes.
const maxLine = 1 << 20

func identifyLines(in io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		var o observation
		if err := json.Unmarshal(s.Bytes(), &o); err != nil {
			return errors.Join(fmt.Errorf("line %d: %w", n, err), w.Flush())
		}
		card, err := o.card()
		if err != nil {
			return errors.Join(fmt.Errorf("line %d: %w", n, err), w.Flush())
		}
		if err := enc.Encode(identified(o.ID, mifare.DefaultPolicy().Admit(card))); err != nil {
			return err
		}
	}
	return errors.Join(s.Err(), w.Flush())
}

func identified(id string, a mifare.Admission) identification {
	return identification{id, string(a.Type), string(a.Verdict), string(a.Reason)}
}

// card makes what a reader would have reported. Only the final SAK is known:
// the levels before it had the cascade bit.
func (o observation) card() (mifare.Card, error) {
	var c mifare.Card
	uid, err := mifare.ParseUID(o.UID)
	if err != nil {
		return c, err
	}
	c.UID = uid
	atqa, err := bytesOf("ATQA", o.ATQA, 2)
	if err != nil {
		return c, err
	}
	c.ATQA = mifare.ATQA(atqa)
	sak, err := bytesOf("SAK", o.SAK, 1)
	if err != nil {
		return c, err
	}
	for range (uid.Len() - 4) / 3 {
		c.SAKs = append(c.SAKs, 0x04)
	}
	c.SAKs = append(c.SAKs, mifare.SAK(sak[0]))
	c.ATS, err = hex.DecodeString(o.ATS)
	if err != nil {
		return c, fmt.Errorf("ATS %q: want hex digits", o.ATS)
	}
	return c, nil
}

func bytesOf(what, text string, n int) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("%s %q: want %d hex digits", what, text, 2*n)
	}
	return b, nil
}

// tokenOf is the canonical form of a UID in hex.
func tokenOf(text string) (session.IDToken, error) {
	u, err := mifare.ParseUID(text)
	return session.IDToken(u.String()), err
}
