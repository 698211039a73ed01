package mifaretest

import (
	"bytes"
	"slices"
	"strings"

	"badged/mifare"
)

// Example is a card that Identify names by the row r of the table of types, and
// not by one before it; false if no card can reach the row.
func Example(r mifare.Row) (mifare.Card, bool) {
	for _, uid := range filled(r.UID, "4", "9C599B32", "04573CEAFEE480", "08572B3D") {
		for _, atqa := range filled(r.ATQA, "4", "0400", "4400", "0C00") {
			for _, sak := range filled(r.SAK, "0", "0C") {
				for _, ats := range answers(r) {
					c := example(uid, atqa, sak, ats, r.Version)
					id := mifare.Identify(c)
					if id.Type == r.Type && id.Name == r.Name && id.Confidence == r.Confidence {
						return c, true
					}
				}
			}
		}
	}
	return mifare.Card{}, false
}

// filled gives a card's digits for each alternative of a pattern; free are the
// choices where the row does not ask.
func filled(pattern, digit string, free ...string) []string {
	if pattern == "" {
		return free
	}
	var all []string
	for p := range strings.SplitSeq(pattern, "|") {
		p = strings.TrimSuffix(strings.Trim(p, "-"), "*")
		all = append(all, strings.ReplaceAll(p, "?", digit))
	}
	return all
}

// answers are ATS that fit r. TL follows from the length.
func answers(r mifare.Row) []string {
	const interfaceBytes, desfireATS = "00788071" + "02", "067577810280"
	all := filled(r.ATS, "4", "", interfaceBytes)
	switch {
	case r.Historical != "":
		all = filled(r.Historical, "4")
		for i := range all {
			all[i] = interfaceBytes + all[i]
		}
	case r.Version != "" && r.SAK != "00":
		all = []string{desfireATS, interfaceBytes} // the one that readers know to have a version behind it
	}
	return all
}

func example(uid, atqa, sak, ats, version string) mifare.Card {
	u, _ := mifare.NewUID(unhex(uid)) // the zero UID fits no row that asks for one
	c := mifare.Card{UID: u, ATQA: mifare.ATQA(unhex(atqa)), ATS: unhex(ats)}
	if len(c.ATS) > 0 {
		c.ATS = padded(c.ATS, int(c.ATS[0]))
		c.ATS[0] = byte(len(c.ATS))
	}
	for range (u.Len() - 1) / 3 {
		c.SAKs = append(c.SAKs, 0x04)
	}
	c.SAKs = append(c.SAKs[:max(0, len(c.SAKs)-1)], mifare.SAK(unhex(sak)[0]))
	if v := filled(version, "4", "")[0]; v != "" {
		c.Version = padded(unhex(v), 28)
		if v[:2] == "00" {
			c.Version = c.Version[:8]
		}
	}
	return c
}

// padded is b made n bytes long, if it is shorter, with what stands for nothing.
func padded(b []byte, n int) []byte {
	return slices.Concat(b, bytes.Repeat([]byte{0x55}, max(0, n-len(b))))
}
