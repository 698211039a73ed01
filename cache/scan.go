package cache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"slices"

	"badged/session"
)

// A log's header, and that of each of its frames, which a page follows
// (https://sqlite.org/fileformat2.html, 4.1).
const (
	logHeader   = 32
	frameHeader = 24
)

// maxFound bounds what a scan remembers, to some 20 MiB.
const maxFound = 200_000

// scan finds records in the pages of a damaged ledger and its log, without the trees:
// where the root of one is lost, SQLite finds nothing below it. A record stands whole
// in a page (only a body of more than 2,000 bytes would not), and says itself where
// it belongs.
type scan struct {
	ledger   string // whose records are wanted; "" for all
	from, to uint64 // the first and the last wanted
	found    []found
}

// found is a record that stands somewhere.
type found struct {
	ledger     string
	seq        uint64
	hash, prev session.Digest
	file       string
	at         int64
	size       int
	proven     bool
}

// run looks through the file at path and its log. What is left in found, in order,
// are the records that are as they were made: those that the next one names by their
// hash and, where no next one is found, those that so name the one before.
func (s *scan) run(path string) {
	s.pages(path)
	s.frames(path + "-wal")
	slices.SortFunc(s.found, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.ledger, b.ledger), cmp.Compare(a.seq, b.seq), bytes.Compare(a.hash[:], b.hash[:]))
	})
	s.found = slices.CompactFunc(s.found, func(a, b found) bool { return a.hash == b.hash })
	for i := range s.found {
		s.found[i].prove(s.found[max(0, i-8):min(i+9, len(s.found))])
	}
	s.found = slices.DeleteFunc(s.found, func(r found) bool { return !r.proven })
}

// prove looks for a chain among those around r.
func (r *found) prove(around []found) {
	named, follows, next := false, false, false
	for _, o := range around {
		if o.ledger != r.ledger {
			continue
		}
		named = named || o.seq == r.seq+1 && o.prev == r.hash
		follows = follows || o.seq+1 == r.seq && o.hash == r.prev
		next = next || o.seq == r.seq+1
	}
	r.proven = named || follows && !next
}

// pages looks through the database itself.
func (s *scan) pages(path string) {
	blocks(path, 0, ledgerSchema.pageSize, func(page []byte, at int64) { s.page(page, path, at) })
}

// frames looks through the log as far as it is committed. Frames with another salt
// are left over from before it was folded into the file.
func (s *scan) frames(path string) {
	header, err := readAt(path, 0, logHeader)
	if err != nil {
		return
	}
	salt := header[16:24]
	last := int64(-1)
	size := frameHeader + ledgerSchema.pageSize
	each := func(do func(frame []byte, at int64)) {
		blocks(path, logHeader, size, func(frame []byte, at int64) {
			if bytes.Equal(frame[8:16], salt) {
				do(frame, at)
			}
		})
	}
	each(func(frame []byte, at int64) {
		if binary.BigEndian.Uint32(frame[4:]) != 0 { // the last of a commit
			last = at
		}
	})
	each(func(frame []byte, at int64) {
		if at <= last {
			s.page(frame[frameHeader:], path, at+frameHeader)
		}
	})
}

// blocks gives what a file holds from a place on, in pieces. What the disk cannot
// read back is passed over.
func blocks(path string, from int64, size int, do func(block []byte, at int64)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	b := make([]byte, size)
	for at := from; err != io.EOF; at += int64(size) {
		if _, err = f.ReadAt(b, at); err == nil {
			do(b, at)
		}
	}
}

// page notes the records in a page that are wanted.
func (s *scan) page(page []byte, path string, at int64) {
	for len(s.found) < maxFound {
		i := bytes.Index(page, []byte(`{"`))
		if i < 0 {
			return
		}
		page, at = page[i:], at+int64(i)
		r, ok := recordAt(page)
		if !ok {
			r.size = 2
		} else if (s.ledger == "" || r.ledger == s.ledger) && s.from <= r.seq && r.seq <= s.to {
			r.file, r.at = path, at
			s.found = append(s.found, r)
		}
		page, at = page[r.size:], at+int64(r.size)
	}
}

// recordAt reads the record that b begins with.
func recordAt(b []byte) (r found, ok bool) {
	var body json.RawMessage
	if json.NewDecoder(bytes.NewReader(b)).Decode(&body) != nil {
		return r, false
	}
	var is struct {
		Ledger string
		Seq    uint64
		Prev   *session.Digest
	}
	if json.Unmarshal(body, &is) != nil || is.Ledger == "" || is.Seq == 0 || is.Prev == nil {
		return r, false
	}
	return found{ledger: is.Ledger, seq: is.Seq, hash: sha256.Sum256(body), prev: *is.Prev, size: len(body)}, true
}

// body reads r again.
func (r found) body() ([]byte, bool) {
	b, err := readAt(r.file, r.at, r.size)
	return b, err == nil && sha256.Sum256(b) == r.hash
}

// readAt reads size bytes of a file.
func readAt(path string, at int64, size int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	_, err = f.ReadAt(b, at)
	return b, err
}
