package reader

import (
	"slices"
	"time"

	"badged/mifare"
)

const (
	// maxCards bounds how many cards are held at once; a wallet has fewer.
	maxCards = 12
	// maxBad bounds how often one enumeration begins again.
	maxBad = 8
	// maxEnumeration bounds its time.
	maxEnumeration = 300 * time.Millisecond
	// Silence in removeMisses polls in a row, and for removeAfter, is absence.
	removeMisses = 3
	removeAfter  = 150 * time.Millisecond
	// maxFails is how many polls in a row may bring answers but no card before
	// the field is switched off and on.
	maxFails = 12
	// An idle chip is reset and configured now and then, against readers that stop
	// reading with all registers right: firstRefresh after a Fault, as what broke
	// may have gone on unseen, then ever more rarely until maxRefresh.
	firstRefresh = time.Second
	maxRefresh   = time.Minute
)

// held is a card in the field, in HALT.
type held struct {
	picc
	uid    mifare.UID    // that it has now; random ones change, card.UID does not
	fresh  bool          // not yet told
	here   bool          // answered in this poll, or may have
	missed int           // polls in a row with clean silence
	seen   time.Duration // when it was here last
}

// poll looks once for all cards, known and new. It returns only a Fault.
func (d *Dev) poll() error {
	d.count.Polls++
	d.misread = misread{}
	if err := d.keepFresh(); err != nil {
		return err
	}
	h, err := d.wake()
	if broken(err) {
		return err
	}
	if err == errSilence && len(d.held) == 0 {
		d.fails = 0
		d.judgeStranger()
		return nil
	}
	if err := d.look(h, err == errSilence); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	d.announce()
	d.judgeStranger()
	return nil
}

// keepFresh configures the chip again when it is idle and due.
func (d *Dev) keepFresh() error {
	if len(d.held) > 0 || d.clock.Now() < d.refreshAt {
		return nil
	}
	d.refreshIn = min(2*d.refreshIn, maxRefresh)
	d.refreshAt = d.clock.Now() + d.refreshIn
	return d.softStart()
}

// wake sends WUPA. When known cards are silent it asks again: a card left in
// ACTIVE goes to IDLE at the first WUPA without a word, and one left in PROTOCOL
// hears only S(DESELECT).
func (d *Dev) wake() (hello, error) {
	h, err := d.request(wupa, true)
	if err != errSilence || len(d.held) == 0 {
		return h, err
	}
	if slices.ContainsFunc(d.held, func(c held) bool { return len(c.card.ATS) > 0 }) {
		tx := mifare.AppendCRCA(append(d.tx[:0], sDeselect))
		if _, err := d.block(tx, deselectTime); broken(err) {
			return h, err
		}
	}
	return d.request(wupa, false)
}

// look greets the known cards, then finds the others. The known ones are in
// HALT again when REQA calls those that are in IDLE.
func (d *Dev) look(h hello, silent bool) error {
	for i := range d.held {
		d.held[i].here = false
	}
	if len(d.held) == 0 {
		return d.judgeFails(h, d.enumerate(wupa, &h, d.meet))
	}
	for i := range d.held {
		if err := d.greet(&d.held[i], h, silent, i > 0); err != nil {
			return err
		}
	}
	if silent {
		d.fails = 0
		return nil
	}
	return d.judgeFails(h, d.enumerate(reqa, nil, d.meet))
}

// greet tells whether c is still there. Anything but clean silence may be it.
func (d *Dev) greet(c *held, h hello, silent, again bool) error {
	var err error
	if again && !silent {
		h, err = d.request(wupa, false)
	}
	if err == nil && !silent {
		err = d.reselect(&c.picc)
	}
	switch {
	case broken(err):
		return err
	case silent, err == errSilence && !h.damaged:
		c.missed++
		return nil
	case err != nil:
		d.count.Noise++
	}
	d.see(c)
	return d.halt()
}

// see notes that c is there.
func (d *Dev) see(c *held) {
	c.here, c.missed, c.seen = true, 0, d.clock.Now()
}

// enumerate calls add for every card that cmd wakes. A request may have been
// answered already, in first. Cards are in HALT afterwards. It returns a Fault,
// or the last reason why somebody who answered could not be read.
func (d *Dev) enumerate(cmd byte, first *hello, add func(picc) bool) (last error) {
	end := d.clock.Now() + maxEnumeration
	for found, bad, again := 0, 0, false; found < maxCards && bad < maxBad && d.clock.Now() < end; {
		h, err := d.next(cmd, &first)
		if err == errSilence && again {
			again = false // a card was disturbed by us; now it is in IDLE
			continue
		}
		if err != nil {
			return worst(err, last)
		}
		p, err := d.read(h, byte(^bad&1))
		switch {
		case broken(err):
			return err
		case err != nil:
			last, again = err, true
			bad++
		case add(p):
			last, cmd = nil, reqa
			found++
		default:
			bad++ // a card that does not halt, or two with one UID
		}
	}
	return last
}

// next is the answer in first, once, and then that to a new request.
func (d *Dev) next(cmd byte, first **hello) (hello, error) {
	if *first != nil {
		h := **first
		*first = nil
		return h, nil
	}
	return d.request(cmd, false)
}

// worst is err if it is a Fault, else last: silence ends an enumeration well.
func worst(err, last error) error {
	if broken(err) {
		return err
	}
	return last
}

// read takes one of the cards that said h from READY to HALT.
func (d *Dev) read(h hello, branch byte) (picc, error) {
	p, err := d.activate(branch)
	if err != nil {
		if err != errSilence && !broken(err) {
			d.count.Retries++
		}
		return p, err
	}
	if !h.damaged {
		p.card.ATQA = h.atqa
	}
	p.card.ATQACollided = h.collided || h.damaged
	return p, d.identify(&p)
}

// meet takes a card into the list and tells whether it is another one.
func (d *Dev) meet(p picc) bool {
	for i := range d.held {
		if c := &d.held[i]; c.uid == p.card.UID {
			another := !c.here
			d.see(c)
			return another
		}
	}
	for i := range d.held {
		if c := &d.held[i]; !c.here && sameVisit(c.card, p.card) {
			c.levels, c.n, c.uid = p.levels, p.n, p.card.UID
			d.see(c)
			return true
		}
	}
	if len(d.held) == maxCards {
		return false
	}
	d.held = append(d.held, held{picc: p, uid: p.card.UID, fresh: true})
	d.see(&d.held[len(d.held)-1])
	return true
}

// sameVisit tells whether b is a with a new random UID: it may have lost power
// for a moment. A random UID has 4 bytes, the first 08: ISO/IEC 14443-3, 6.5.4.
func sameVisit(a, b mifare.Card) bool {
	random := func(c mifare.Card) bool { return c.UID.Len() == 4 && c.UID.Bytes()[0] == 0x08 }
	return random(a) && random(b) && slices.Equal(a.SAKs, b.SAKs)
}

// judgeFails switches the field off and on when answers bring no card for long.
func (d *Dev) judgeFails(h hello, err error) error {
	if broken(err) {
		return err
	}
	if err == nil {
		d.fails = 0
		return nil
	}
	d.count.Noise++
	if d.fails++; d.fails < maxFails {
		return nil
	}
	d.fails = 0
	d.tried[rungField]++
	return d.fieldCycle()
}

// settle removes the cards that have been silent for long enough. Before, the
// field goes off and on and everybody is asked anew: no state that a card may be
// stuck in counts as absence, and nobody is left in HALT who is not in the list.
func (d *Dev) settle() error {
	now := d.clock.Now()
	gone := func(c held) bool { return c.missed >= removeMisses && now-c.seen >= removeAfter }
	if !slices.ContainsFunc(d.held, gone) {
		return nil
	}
	if err := d.fieldCycle(); err != nil {
		return err
	}
	switch err := d.enumerate(wupa, nil, d.meet); {
	case broken(err):
		return err
	case err != nil:
		return nil // not clean: ask again at the next poll
	}
	d.held = slices.DeleteFunc(d.held, func(c held) bool {
		if !gone(c) {
			return false
		}
		d.count.Removals++
		d.events = append(d.events, Removed{c.card})
		return true
	})
	return nil
}

// announce tells of the cards that came.
func (d *Dev) announce() {
	if !slices.ContainsFunc(d.held, func(c held) bool { return c.fresh }) {
		return
	}
	var tap Tap
	for i := range d.held {
		switch c := &d.held[i]; {
		case c.fresh:
			c.fresh = false
			tap.New = append(tap.New, c.card)
		case c.here:
			tap.Held = append(tap.Held, c.card)
		}
	}
	d.count.Taps++
	d.events = append(d.events, tap)
}
