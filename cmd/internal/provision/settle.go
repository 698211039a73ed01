package provision

import (
	"errors"
	"fmt"
	"path/filepath"
)

// settle acts on the daemon's verdict: what is on trial and cannot connect gives way
// to the configuration before, and what has connected to nothing else. The result
// goes to the boot partition too.
func (b *Board) settle() (Report, error) {
	cur, err := b.current()
	if err != nil {
		return Report{}, err
	}
	v, onTrial := b.verdict(cur)
	if onTrial {
		return Report{}, nil
	}
	if v.Connected || v.Version == "" { // never on trial
		return Report{}, b.prune(cur.config)
	}
	// First what happened, then what to do about it: after a power cut in between the
	// verdict is still there.
	s, err := b.conclude(current{config: cur.Previous, version: cur.version}, FellBack,
		fmt.Sprintf("back to the configuration before: the new one could not connect to %s within 15 minutes, the old one could", cur.Broker))
	if err != nil {
		return Report{}, err
	}
	text := wordsFellBack(cur, v)
	var untold error
	if dir := b.partition(); dir != "" {
		untold = b.tell(dir, text)
	}
	if err := b.disk.point(b.link(), cur.Previous); err != nil {
		return Report{}, errors.Join(untold, err)
	}
	return Report{s, text}, errors.Join(untold, b.prune(cur.Previous))
}

// Boot does what is to be done before the gateway starts: it ends a trial, installs
// the provisioning file on the boot partition if there is one, and looks whether the
// card is still in its board.
func (b *Board) Boot(replace bool) (Report, error) {
	lock, err := b.lock()
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	r, err := b.start(replace)
	if err == nil || r.Text != "" {
		return r, err
	}
	b.shine(true)
	r.Text = wordsInTheWay(err)
	if dir := b.partition(); dir != "" {
		err = errors.Join(err, b.tell(dir, r.Text))
	}
	return r, err
}

// start is Boot once nobody else is at it. An error without a text is of the board
// itself.
func (b *Board) start(replace bool) (Report, error) {
	settled, err := b.settle()
	if err != nil {
		return settled, err
	}
	found, err := b.look()
	if err != nil {
		return Report{}, err
	}
	if len(found) == 0 {
		r, err := b.idle(replace)
		if r.Text == "" && settled.Text != "" {
			r = settled
		}
		return r, err
	}
	path := found[0]
	j := b.fromPartition(path)
	j.replace = replace
	cur, err := b.current()
	if err != nil {
		return Report{}, err
	}
	if err := b.misplaced(found); err != nil {
		return b.refuse(j, cur, err)
	}
	if j.doc, err = readSmall(path); err != nil {
		return b.refuse(j, cur, err)
	}
	return b.run(j)
}

// idle is a start without a provisioning file.
func (b *Board) idle(replace bool) (Report, error) {
	cur, err := b.current()
	if err != nil {
		return Report{}, err
	}
	was, err := b.state()
	if err != nil {
		return Report{}, err
	}
	if cur.version != "" && cur.Board != "" && b.serial != "" && cur.Board != b.serial {
		if !replace {
			return b.moved(cur)
		}
		cur.Board = b.serial
		if err := b.disk.replace(filepath.Join(b.etc, filepath.Dir(cur.config), recordName), marshal(cur.Record), 0o644); err != nil {
			return Report{}, err
		}
		s, err := b.conclude(cur, Installed, installedText(cur))
		return Report{s, fmt.Sprintf("Board %s is gateway %s from now on.\n", b.serial, cur.Gateway)}, err
	}
	if was.Config == cur.config && (was.Outcome == Installed || was.Outcome == FellBack) {
		return Report{State: was}, nil
	}
	if cur.version == "" && was == (State{}) { // nothing was ever provisioned
		return Report{}, nil
	}
	b.shine(false)
	o, text := Installed, installedText(cur)
	if cur.version == "" {
		o, text = "", "" // a file was refused, and is gone
	}
	s, err := b.conclude(cur, o, text)
	return Report{State: s}, err
}

// moved says that the card is in another board than the one that it was
// provisioned in. The gateway goes on: the board that it was in may be dead.
func (b *Board) moved(cur current) (Report, error) {
	line := fmt.Sprintf("this card was provisioned as %s in board %s and is in board %s now; if that one is out of service: sudo badgectl provision apply --replaces", cur.Gateway, cur.Board, b.serial)
	text := b.wordsMoved(cur)
	if was, err := b.state(); err == nil && was.Outcome == Moved && was.Text == line {
		return Report{State: was, Text: text}, nil
	}
	s, err := b.conclude(cur, Moved, line)
	if dir := b.partition(); dir != "" {
		err = errors.Join(err, b.tell(dir, text))
	}
	return Report{s, text}, err
}
