package reader

import "badged/mifare"

// ReadFirst goes from REQA to UID and SAK of one card, for figures.
func (d *Dev) ReadFirst() (mifare.UID, mifare.SAK, error) {
	if _, err := d.request(reqa, false); err != nil {
		return mifare.UID{}, 0, err
	}
	p, err := d.activate(1)
	return p.card.UID, p.card.SAK(), err
}

// Poll does one poll, for figures.
func (d *Dev) Poll() error {
	d.events = d.events[:0]
	return d.poll()
}

// BringUp configures the chip and FieldCycle takes the cards' state.
func (d *Dev) BringUp() error    { return d.bringUp() }
func (d *Dev) FieldCycle() error { return d.fieldCycle() }

// Cycle is one round of Run, and returns what it told.
func (d *Dev) Cycle() []Event {
	events, _ := d.cycle()
	return events
}

// Judge judges a status burst as exchange does.
func Judge(st [6]byte, data []byte) (n int, err error) {
	a, err := status{st[0], st[1], st[2], st[3], st[4], st[5]}.judge(data)
	return len(a.data), err
}
