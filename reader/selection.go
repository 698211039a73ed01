package reader

import (
	"errors"

	"badged/mifare"
)

// Commands of ISO/IEC 14443-3, 6.4 and 6.5.
const (
	reqa       = 0x26
	wupa       = 0x52
	hlta       = 0x50
	nvbAll     = 0x70 // NVB of a SELECT
	cascadeTag = 0x88
)

// selCodes has SEL by cascade level.
var selCodes = [...]byte{0x93, 0x95, 0x97}

// level is what a PICC gives at one cascade level: four bytes of UID or of
// cascade tag and UID; BCC is their XOR.
type level [4]byte

func (l level) bcc() byte { return l[0] ^ l[1] ^ l[2] ^ l[3] }

// picc is a card and the way to select it again.
type picc struct {
	card   mifare.Card
	levels [len(selCodes)]level
	n      int // cascade levels used
}

// hello is an answer to REQA or WUPA.
type hello struct {
	atqa     mifare.ATQA
	collided bool // of several cards: atqa belongs to none
	damaged  bool // or noise: atqa means nothing
}

// request sends REQA or WUPA. A damaged answer is no error: somebody may be
// there, and what was damaged is only the ATQA. It returns errSilence or a Fault.
func (d *Dev) request(cmd byte, health bool) (hello, error) {
	f := frame{tx: append(d.tx[:0], cmd), last: 7, short: true, want: 2, health: health}
	a, err := d.exchange(f)
	switch {
	case err == errSilence || broken(err):
		return hello{}, err
	case err != nil:
		d.count.Noise++
		return hello{damaged: true}, nil
	}
	h := hello{collided: a.coll > 0}
	copy(h.atqa[:], a.data)
	return h, nil
}

// activate brings one card of those in READY to ACTIVE. Where answers collide it
// follows the cards whose bit is branch (0 or 1).
func (d *Dev) activate(branch byte) (p picc, err error) {
	var uid []byte
	for i, sel := range selCodes {
		if p.levels[i], err = d.anticollide(sel, branch); err != nil {
			return picc{}, err
		}
		sak, err := d.selectLevel(sel, p.levels[i])
		if err != nil {
			return picc{}, err
		}
		p.n = i + 1
		p.card.SAKs = append(p.card.SAKs, sak)
		last := i == len(selCodes)-1
		tagged := p.levels[i][0] == cascadeTag
		if sak.Complete() || !tagged || last {
			uid = append(uid, p.levels[i][:]...)
			if contradicts(sak.Complete(), tagged, last) {
				p.card.Notes = append(p.card.Notes, mifare.NoteCT)
			}
			break
		}
		uid = append(uid, p.levels[i][1:]...)
	}
	p.card.UID, err = mifare.NewUID(uid)
	return p, err
}

// contradicts tells whether the SAK at the end of a UID and the byte where a
// cascade tag would be exclude each other: ISO/IEC 14443-3, 6.5.4.
func contradicts(complete, tagged, last bool) bool {
	return !complete || tagged && !last
}

// anticollide runs the bit-oriented anticollision of one cascade level:
// ISO/IEC 14443-3, 6.5.3.
func (d *Dev) anticollide(sel, branch byte) (level, error) {
	var got [5]byte // UID CLn and BCC as far as known
	for known := 0; known < 32; {
		a, err := d.askFrom(sel, got, known)
		if err != nil {
			d.doubtColl(known)
			return level{}, anyoneLeft(known, err)
		}
		valid := 40
		if a.coll > 0 {
			valid = d.collided(known, a.coll)
		}
		if a.coll > 0 && (valid < known || valid > 31) {
			d.doubtColl(known)
			return level{}, errCollided
		}
		merge(&got, a.data, known, valid)
		if a.coll == 0 {
			return d.checkBCC(sel, got)
		}
		d.count.Collisions++
		got[valid/8] |= branch << (valid % 8)
		known = valid + 1
	}
	return d.lastBits(sel, got)
}

// lastBits asks for the BCC alone, when the 32 bits before it are known.
func (d *Dev) lastBits(sel byte, got [5]byte) (level, error) {
	a, err := d.askFrom(sel, got, 32)
	if err != nil {
		return level{}, anyoneLeft(32, err)
	}
	if a.coll > 0 {
		return level{}, errCollided
	}
	merge(&got, a.data, 32, 40)
	return d.checkBCC(sel, got)
}

// askFrom sends ANTICOLLISION with known bits of got.
func (d *Dev) askFrom(sel byte, got [5]byte, known int) (answer, error) {
	whole, bits := known/8, known%8
	tx := append(d.tx[:0], sel, byte(2+whole)<<4|byte(bits))
	tx = append(tx, got[:(known+7)/8]...)
	return d.exchange(frame{tx: tx, last: byte(bits), want: 5 - whole})
}

// collided turns CollPos into the number of valid bits of the level. CollPos
// counts from the first bit of the FIFO, the bits skipped by RxAlign included;
// that is how NXP's own drivers read it. The data sheet can be read as if it
// counted from the start of the level, as other drivers do. A wrong reading ends
// in silence, which makes anticollide change to the other one.
func (d *Dev) collided(known, pos int) int {
	if d.absoluteColl && pos > known {
		return pos - 1
	}
	return 8*(known/8) + pos - 1
}

// doubtColl changes the reading of CollPos if the last one may have been wrong:
// the two differ from the eighth bit on.
func (d *Dev) doubtColl(known int) {
	if known >= 8 {
		d.absoluteColl = !d.absoluteColl
	}
}

// merge takes over the bits known to valid-1 from data, which starts with the
// byte that has bit known.
func merge(got *[5]byte, data []byte, known, valid int) {
	for i := known; i < valid; i++ {
		if at := i/8 - known/8; at < len(data) {
			got[i/8] |= data[at] & (1 << (i % 8))
		}
	}
}

// checkBCC returns the level in got if its BCC is right.
func (d *Dev) checkBCC(sel byte, got [5]byte) (level, error) {
	l := level(got[:4])
	if l.bcc() != got[4] {
		return level{}, d.wrong(sel, got[:], errBCC)
	}
	return l, nil
}

// anyoneLeft makes silence in the middle of anticollision an error of the kind
// "try again": a card answered before.
func anyoneLeft(known int, err error) error {
	if known > 0 && errors.Is(err, errSilence) {
		return errPartial
	}
	return err
}

// selectLevel sends SELECT and returns the SAK. Only the PICC with exactly these
// bytes answers, and the SAK has a CRC: so it also proves that the UID came
// undamaged over the air and the bus.
func (d *Dev) selectLevel(sel byte, l level) (mifare.SAK, error) {
	tx := append(d.tx[:0], sel, nvbAll)
	tx = append(append(tx, l[:]...), l.bcc())
	a, err := d.exchange(frame{tx: mifare.AppendCRCA(tx), want: 3})
	if err != nil {
		return 0, err
	}
	if a.coll > 0 {
		return 0, errCollided
	}
	sak, ok := mifare.CutCRCA(a.data)
	if !ok {
		return 0, d.wrong(sel, a.data, errCRC)
	}
	return mifare.SAK(sak[0]), nil
}

// reselect selects p again after WUPA or REQA, without anticollision.
func (d *Dev) reselect(p *picc) error {
	for i := range p.n {
		sak, err := d.selectLevel(selCodes[i], p.levels[i])
		if err != nil {
			return err
		}
		if sak != p.card.SAKs[i] {
			return errCRC // another card with this UID, or a damaged SAK
		}
	}
	return nil
}

// halt sends HLTA. Silence is success (ISO/IEC 14443-3, 6.4.3), and a card that
// answers is none the worse for it; so only a Fault is an error.
func (d *Dev) halt() error {
	tx := mifare.AppendCRCA(append(d.tx[:0], hlta, 0))
	_, err := d.exchange(frame{tx: tx, want: 1, wait: haltSilence})
	if broken(err) {
		return err
	}
	return nil
}
