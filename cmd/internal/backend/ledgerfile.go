package backend

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"badged/cmd/internal/durable"
)

// ledgerFile is one ledger of one gateway: a line of JSON for each record, in the
// order they came. The file is all that is known of it; in memory is only where to
// look, 24 bytes for every blockLines lines that came in order, so that thousands of
// gateways and millions of records fit into a small machine.
type ledgerFile struct {
	gateway, ledger string
	path            string
	written         time.Time // last
	upTo            uint64    // as far as the chain holds
	hash            string    // of that record, empty before the first
	last            uint64    // the highest there is
	forks           int       // records that contradict others

	f      *os.File // while it is worked on, else nil
	size   int64    // bytes of whole lines
	dirty  bool     // not synced
	blocks []block
	loaded int                // the block whose places are known, -1 for none
	places map[uint64][]place // of the records in it
}

// blockLines is how many lines are read to find one.
const blockLines = 256

// block is where the lines of some records are, one after the other by number.
type block struct {
	at    int64  // bytes before it
	first uint64 // record
	lines uint64
}

// place is what the chain is made of.
type place struct{ hash, prev string }

func newLedgerFile(dir, gateway, ledger string) *ledgerFile {
	return &ledgerFile{gateway: gateway, ledger: ledger, path: filepath.Join(dir, gateway, ledger+".jsonl"), loaded: -1}
}

// openLedgers reads every ledger under dir, and makes all that is in them last: it
// may have been written by a process that died before it could. say is told what
// is odd.
func openLedgers(dir string, say func(l *ledgerFile, what string)) (map[string]*ledgerFile, error) {
	all := make(map[string]*ledgerFile)
	in := bufio.NewReaderSize(nil, maxLine)
	if err := durable.SyncDir(dir); err != nil {
		return nil, err
	}
	err := eachLedger(dir, "*", func(gateway, ledger string) error {
		l := newLedgerFile(dir, gateway, ledger)
		if err := errors.Join(l.recover(in, say), l.release(), durable.SyncDir(filepath.Dir(l.path))); err != nil {
			return fmt.Errorf("read ledger %s: %w", l.path, err)
		}
		all[gateway+"/"+ledger] = l
		return nil
	})
	return all, err
}

// eachLedger walks the ledgers under dir by gateway, of one only unless that is "*".
func eachLedger(dir, of string, do func(gateway, ledger string) error) error {
	paths, err := fs.Glob(os.DirFS(dir), of+"/*.jsonl")
	if err != nil {
		return err
	}
	for _, path := range paths {
		gateway, file, _ := strings.Cut(path, "/")
		if err := do(gateway, strings.TrimSuffix(file, ".jsonl")); err != nil {
			return err
		}
	}
	return nil
}

// open makes the file ready to be read and written, with a lasting name.
func (l *ledgerFile) open() error {
	if l.f != nil {
		return nil
	}
	if err := durable.MakeDir(filepath.Dir(l.path)); err != nil {
		return err
	}
	_, err := os.Stat(l.path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if l.f, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if isNew {
		return durable.SyncDir(filepath.Dir(l.path))
	}
	return nil
}

// release makes what was written last and lets go of the file and of all that can
// be read again.
func (l *ledgerFile) release() error {
	l.loaded, l.places = -1, nil
	if l.f == nil {
		return nil
	}
	var err error
	if l.dirty {
		err = l.f.Sync()
	}
	if err = errors.Join(err, l.f.Close()); err == nil {
		l.dirty = false
	}
	l.f = nil
	return err
}

// recover learns what the file holds. A torn end, which no sync has covered, is cut
// off. Lines that are damaged inside the file are no crash's doing alone: the file as
// it was is kept aside, the good lines go on, and the gateway sends the rest again.
func (l *ledgerFile) recover(in *bufio.Reader, say func(*ledgerFile, string)) error {
	if err := l.open(); err != nil {
		return err
	}
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	l.written, l.dirty = info.ModTime(), true
	in.Reset(l.f)
	damaged, err := l.read(in)
	if err != nil {
		return err
	}
	if len(damaged) > 0 {
		aside, err := l.setAside(in, damaged)
		if err != nil {
			return err
		}
		say(l, fmt.Sprintf("%d damaged lines, the first %d: the file as it was is now %s, the gateway will send their records again", len(damaged), damaged[0], aside))
	} else if info.Size() > l.size {
		if err := errors.Join(l.f.Truncate(l.size), os.Chtimes(l.path, time.Time{}, l.written)); err != nil {
			return err
		}
	}
	if what := l.odd(); what != "" {
		say(l, what)
	}
	return nil
}

// odd says what is wrong with the ledger as far as it has come, "" if nothing is.
func (l *ledgerFile) odd() string {
	var what []string
	if l.last > l.upTo {
		what = append(what, fmt.Sprintf("whole up to %d, the last is %d: what is between is missing or does not follow", l.upTo, l.last))
	}
	if l.forks > 0 {
		what = append(what, fmt.Sprintf("%d records contradict others", l.forks))
	}
	return strings.Join(what, "; ")
}

// read takes the lines in. It stops before a torn end, and returns the numbers of
// lines that are whole and make no sense.
func (l *ledgerFile) read(in *bufio.Reader) (damaged []int, err error) {
	for n := 1; ; n++ {
		line, err := nextLine(in)
		if err == io.EOF {
			return damaged, nil
		}
		if err != nil && err != errLong {
			return nil, err
		}
		rec, bad := parseLine(line)
		if bad != nil || rec.Gateway != l.gateway || rec.Ledger != l.ledger {
			damaged = append(damaged, n)
			continue
		}
		if len(damaged) > 0 {
			continue // it will be read again, from another place
		}
		if _, err := l.took(rec, len(line)); err != nil {
			return nil, err
		}
	}
}

// setAside puts a copy without the damaged lines in the file's place, and reads it.
func (l *ledgerFile) setAside(in *bufio.Reader, damaged []int) (aside string, err error) {
	if _, err := l.f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	in.Reset(l.f)
	good, err := os.CreateTemp(filepath.Dir(l.path), ".new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(good.Name())
	out := bufio.NewWriter(good)
	for n := 1; err == nil; n++ {
		var line []byte
		line, err = nextLine(in)
		switch {
		case (err == nil || err == errLong) && len(damaged) > 0 && n == damaged[0]:
			damaged, err = damaged[1:], nil
		case err == nil:
			_, err = out.Write(line)
		}
	}
	if err != io.EOF {
		return "", errors.Join(err, good.Close())
	}
	if err := errors.Join(out.Flush(), good.Sync(), good.Close(), l.f.Close()); err != nil {
		return "", err
	}
	aside = l.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := errors.Join(os.Link(l.path, aside), os.Rename(good.Name(), l.path), durable.SyncDir(filepath.Dir(l.path)),
		os.Chtimes(l.path, time.Time{}, l.written)); err != nil {
		return "", err
	}
	fresh := newLedgerFile("", l.gateway, l.ledger)
	fresh.path, fresh.written, fresh.dirty = l.path, l.written, true
	*l = *fresh
	if err := l.open(); err != nil {
		return "", err
	}
	in.Reset(l.f)
	_, err = l.read(in)
	return aside, err
}

// add appends a record that is not in the file yet. note says what is odd.
func (l *ledgerFile) add(rec Record) (note string, isNew bool, err error) {
	if err := l.open(); err != nil {
		return "", false, err
	}
	known, err := l.find(rec.Seq)
	if err != nil {
		return "", false, err
	}
	for _, p := range known {
		if p.hash == rec.Hash {
			return "", false, nil
		}
	}
	line, err := formatLine(rec)
	if err != nil {
		return "", false, err
	}
	l.dirty, l.written = true, time.Now()
	if _, err := l.f.Write(line); err != nil {
		return "", false, err
	}
	note, err = l.took(rec, len(line))
	return note, true, err
}

// took notes a line that is at the end of the file now, and moves the whole part on
// as far as the chain holds.
func (l *ledgerFile) took(rec Record, length int) (note string, err error) {
	p := place{rec.Hash, prevOf(rec.Record)}
	switch {
	case rec.Seq <= l.upTo:
		note = "another record came with a number that was given before"
		l.forks++
	case rec.Seq == l.upTo+1 && p.prev != l.before():
		note = "a record does not follow on the one before it" // the one that does may still come
	case rec.Seq > l.upTo+1 && l.last <= l.upTo:
		note = "records are missing before this one"
	}
	l.extend(rec.Seq, length, p)
	if rec.Seq != l.upTo+1 || p.prev != l.before() {
		return note, nil
	}
	l.upTo, l.hash = rec.Seq, p.hash
	return note, l.follow()
}

// before is what the next record's prev must be.
func (l *ledgerFile) before() string {
	if l.hash == "" {
		return firstPrev
	}
	return l.hash
}

// extend makes room for a line in the blocks.
func (l *ledgerFile) extend(seq uint64, length int, p place) {
	n := len(l.blocks) - 1
	if n < 0 || l.blocks[n].lines == blockLines || seq != l.blocks[n].first+l.blocks[n].lines {
		l.blocks = append(l.blocks, block{at: l.size, first: seq})
		n++
	}
	l.blocks[n].lines++
	if l.loaded == n {
		l.places[seq] = append(l.places[seq], p)
	}
	l.size += int64(length)
	l.last = max(l.last, seq)
}

// follow goes on with records that came ahead of a gap.
func (l *ledgerFile) follow() error {
	for l.upTo < l.last {
		known, err := l.find(l.upTo + 1)
		if err != nil {
			return err
		}
		next := ""
		for _, p := range known {
			if next == "" && p.prev == l.before() {
				next = p.hash
			}
		}
		if next == "" {
			return nil
		}
		l.upTo, l.hash = l.upTo+1, next
	}
	return nil
}

// find gives the records of a number, in the order they came: one, unless there are
// forks.
func (l *ledgerFile) find(seq uint64) (found []place, err error) {
	if seq > l.last {
		return nil, nil
	}
	for n, b := range l.blocks {
		if seq < b.first || seq-b.first >= b.lines {
			continue
		}
		if l.loaded != n {
			if err := l.load(n); err != nil {
				return nil, err
			}
		}
		found = append(found, l.places[seq]...)
	}
	return found, nil
}

// load reads a block.
func (l *ledgerFile) load(n int) error {
	b := l.blocks[n]
	l.loaded, l.places = -1, make(map[uint64][]place, b.lines)
	in := bufio.NewReader(io.NewSectionReader(l.f, b.at, l.size-b.at))
	for range b.lines {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return err
		}
		l.places[rec.Seq] = append(l.places[rec.Seq], place{rec.Hash, prevOf(rec.Record)})
	}
	l.loaded = n
	return nil
}
