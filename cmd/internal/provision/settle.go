package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// partitions are where the boot partition may be, newer systems first.
var partitions = []string{"/boot/firmware", "/boot"}

// partition is the boot partition of this system, "" if it has none.
func (b *Board) partition() string {
	for _, dir := range partitions {
		if info, err := os.Stat(filepath.Join(b.root, dir)); err == nil && info.IsDir() {
			return filepath.Join(b.root, dir)
		}
	}
	return ""
}

// tell writes the result where the technician reads it, on any system's editor.
func (b *Board) tell(dir, text string) error {
	return b.disk.replace(filepath.Join(dir, ResultName), []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0)
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

// misplaced says what is wrong with where the files lie that were found.
func (b *Board) misplaced(found []string) error {
	path := strings.TrimPrefix(found[0], b.root)
	switch name := filepath.Base(path); {
	case len(found) > 1:
		var all []string
		for _, p := range found {
			all = append(all, strings.TrimPrefix(p, b.root))
		}
		return fmt.Errorf("there is more than one: %s. Leave the right one there, as %s", strings.Join(all, ", "), FileName)
	case !slices.Contains(partitions, filepath.Dir(path)):
		return fmt.Errorf("the file is in the folder %s. Take it out of there, to where config.txt is, as %s", filepath.Base(filepath.Dir(path)), FileName)
	case strings.HasSuffix(strings.ToLower(name), ".txt"):
		return fmt.Errorf("the file is called %s. Rename it to %s: Windows hides endings such as .txt, Explorer shows them under View, File name extensions", name, FileName)
	case !strings.EqualFold(name, FileName):
		return fmt.Errorf("the file is called %s. If it is the one from the office, rename it to %s; if not, take it off", name, FileName)
	}
	return nil
}

// look finds provisioning files on the boot partition: the right name, in any
// letters as FAT has it, or if that is nowhere, what may have become of it on the
// way, also in a folder.
func (b *Board) look() (right []string, err error) {
	var others []string
	for _, dir := range partitions {
		all, err := os.ReadDir(filepath.Join(b.root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range all {
			path := filepath.Join(b.root, dir, e.Name())
			switch {
			case strings.EqualFold(e.Name(), FileName):
				right = append(right, path)
			case e.Type().IsRegular() && mayBe(e.Name()):
				others = append(others, path)
			case e.IsDir() && !hidden(e.Name()) && !slices.Contains(partitions, filepath.Join(dir, e.Name())):
				inside, _ := os.ReadDir(path) // one that cannot be read has none
				for _, f := range inside {
					if f.Type().IsRegular() && mayBe(f.Name()) {
						others = append(others, filepath.Join(path, f.Name()))
					}
				}
			}
		}
	}
	if len(right) > 0 {
		return right, nil
	}
	return others, nil
}

// hidden tells what is no file of people's: a Mac's notes on each file, and dustbins.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "$") }

// mayBe tells whether people or systems may have made name of FileName: with more
// before or behind it, or in eight letters and three.
func mayBe(name string) bool {
	name = strings.ToLower(name)
	switch {
	case hidden(name), strings.HasPrefix(name, "badged-result"):
		return false
	case strings.HasPrefix(name, "badged-provision"), strings.HasPrefix(name, "badged~"):
		return true
	}
	named := strings.Contains(name, "provision")
	return strings.Contains(name, ".toml") && (named || strings.Contains(name, "badged")) || strings.HasSuffix(name, ".txt") && named
}

// fromPartition takes a file off the boot partition once it is installed: it has
// secrets in it, and FAT has no rights.
func (b *Board) fromPartition(path string) job {
	dir := filepath.Dir(path)
	for _, p := range partitions {
		if strings.HasPrefix(path, filepath.Join(b.root, p)+"/") { // the result is never in a folder of it
			dir = filepath.Join(b.root, p)
			break
		}
	}
	return job{
		name: FileName,
		begin: func() error {
			if err := b.tell(dir, wordsBegun); err != nil {
				return fmt.Errorf("the boot partition cannot be written, so the file and its secrets would stay there: %w", err)
			}
			return nil
		},
		refused: func(text string) error { return b.tell(dir, text) },
		done: func(f *File, words func(string) string) (string, error) {
			text := words(secretsGone(f.gateway()))
			if err := b.tell(dir, text); err != nil {
				return text, err
			}
			err := errors.Join(b.disk.remove(path), b.disk.sync(dir))
			if err == nil {
				return text, nil
			}
			text = words(fmt.Sprintf("The provisioning file could NOT be taken off this partition (%v).\nDelete it yourself: it has secrets in it.\n", err))
			return text, errors.Join(err, b.tell(dir, text))
		},
	}
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
