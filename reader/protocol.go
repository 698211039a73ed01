package reader

import (
	"bytes"
	"errors"
	"time"

	"badged/mifare"
)

// ISO/IEC 14443-4.
const (
	rats       = 0xE0
	ratsParam  = 0x50 // FSDI 5: frames of up to 64 bytes, the FIFO; CID 0
	sDeselect  = 0xC2
	iBlock     = 0x02 // with the block number in bit 0
	getVersion = 0x60 // DESFire native command, ISO 7816-4 wrapped
	moreFrames = 0xAF
	// activationTime is the longest time to an ATS: 65536/fc, 5.6.1.
	activationTime = 4833 * time.Microsecond
	// deselectTime is the longest time to the answer to S(DESELECT): 8.1.
	deselectTime = 4833 * time.Microsecond
	// versionTime bounds one frame of GetVersion. DESFire claims up to 77 ms and
	// takes two.
	versionTime = 20 * time.Millisecond
)

// desfireATS is the ATS of all DESFire generations, desfireLike of NTAG 42x.
var (
	desfireATS  = []byte{0x06, 0x75, 0x77, 0x81, 0x02, 0x80}
	desfireLike = []byte{0x06, 0x77, 0x77, 0x71, 0x02, 0x80}
)

// identify asks the ACTIVE card p for its ATS, and a DESFire for its version,
// and leaves it in HALT. Only a Fault is an
// error: a card that keeps silent is a card all the same.
func (d *Dev) identify(p *picc) error {
	if !p.card.SAK().Complete() || !d.asksATS(p.card.SAK()) {
		return d.halt()
	}
	ats, err := d.rats()
	switch {
	case broken(err):
		return err
	case errors.Is(err, errSilence):
		if p.card.SAK().TCL() {
			p.card.Notes = append(p.card.Notes, mifare.NoteSilentRATS)
		}
		return d.haltAgain(p)
	case err != nil:
		p.card.Notes = append(p.card.Notes, mifare.NoteBadATS)
		return d.deselect()
	}
	p.card.ATS = ats
	if bytes.Equal(ats, desfireATS) || bytes.Equal(ats, desfireLike) {
		if p.card.Version, err = d.version(); broken(err) {
			return err
		}
	}
	return d.deselect()
}

// asksATS tells whether RATS is worth its time for a card with this SAK.
func (d *Dev) asksATS(s mifare.SAK) bool {
	switch s {
	case 0x08, 0x18, 0x19:
		return d.opts.PlusATS
	}
	return s.TCL()
}

// haltAgain halts a card that a command unknown to it sent back to IDLE.
func (d *Dev) haltAgain(p *picc) error {
	_, err := d.request(reqa, false)
	if err == nil {
		err = d.reselect(p)
	}
	if broken(err) {
		return err
	}
	return d.halt()
}

// rats sends RATS and returns the ATS, believed only if CRC_A and TL are right.
func (d *Dev) rats() ([]byte, error) {
	tx := mifare.AppendCRCA(append(d.tx[:0], rats, ratsParam))
	ats, err := d.block(tx, activationTime)
	if err != nil {
		return nil, err
	}
	if int(ats[0]) != len(ats) {
		return nil, errPartial
	}
	return bytes.Clone(ats), nil
}

// deselect ends ISO/IEC 14443-4 and leaves the PICC in HALT. The PICC confirms;
// one that does not is asked once more.
func (d *Dev) deselect() error {
	for range 2 {
		_, err := d.block(mifare.AppendCRCA(append(d.tx[:0], sDeselect)), deselectTime)
		if err == nil || broken(err) {
			return err
		}
	}
	return nil
}

// version asks a DESFire for its GetVersion in three frames, joined without
// status bytes.
func (d *Dev) version() ([]byte, error) {
	var out []byte
	for i, cmd := range []byte{getVersion, moreFrames, moreFrames} {
		tx := append(d.tx[:0], iBlock|byte(i&1), 0x90, cmd, 0, 0, 0)
		a, err := d.block(mifare.AppendCRCA(tx), versionTime)
		if err != nil {
			return nil, err
		}
		status := byte(moreFrames)
		if i == 2 {
			status = 0
		}
		end := len(a) - 2
		if end < 1 || a[0] != iBlock|byte(i&1) || a[end] != 0x91 || a[end+1] != status {
			return nil, errPartial
		}
		out = append(out, a[1:end]...)
	}
	return out, nil
}

// block exchanges a frame of ISO/IEC 14443-4 and returns the answer without its
// CRC_A, at least one byte.
func (d *Dev) block(tx []byte, until time.Duration) ([]byte, error) {
	a, err := d.exchange(frame{tx: tx, until: until})
	if err != nil {
		return nil, err
	}
	if a.coll > 0 {
		return nil, errCollided
	}
	b, ok := mifare.CutCRCA(a.data)
	if !ok {
		return nil, errCRC
	}
	return b, nil
}
