package reader

import "time"

// strangerPolls is in how many polls a card must send the same wrong bytes before
// it is said to be unreadable. Noise does not damage an answer the same way twice.
const strangerPolls = 3

// misread is an answer that came whole, its parity right, and was wrong all the
// same. The zero value is none.
type misread struct {
	why  error
	sel  byte // cascade level
	data [5]byte
}

// stranger is somebody in the field who answers and cannot be read.
type stranger struct {
	misread      // what it sends
	times   int  // polls that brought it
	told    bool // or not to be told
	missed  int  // clean polls without it since
	seen    time.Duration
}

// wrong notes a misread and returns why.
func (d *Dev) wrong(sel byte, data []byte, why error) error {
	d.misread = misread{why: why, sel: sel}
	copy(d.misread.data[:], data)
	return why
}

// judgeStranger tells of a card that can never be read, once in a visit, which
// ends as those of other cards. Beside a card that was read it keeps quiet: one
// good badge in a wallet is enough.
func (d *Dev) judgeStranger() {
	s := &d.stranger
	if d.misread == (misread{}) {
		if s.times > 0 && d.fails == 0 {
			d.missStranger()
		}
		return
	}
	if d.misread != s.misread {
		s.misread, s.times = d.misread, 0
	}
	s.times++
	s.missed, s.seen = 0, d.clock.Now()
	s.told = s.told || len(d.held) > 0
	if s.times < strangerPolls || s.told {
		return
	}
	s.told = true
	d.count.Unreadable++
	d.events = append(d.events, Unreadable{s.why})
}

func (d *Dev) missStranger() {
	s := &d.stranger
	s.missed++
	if s.missed >= removeMisses && d.clock.Now()-s.seen >= removeAfter {
		*s = stranger{}
	}
}
