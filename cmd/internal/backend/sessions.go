package backend

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"badged/session"
)

// sessionColumns is the header of a CSV. Times are of the wall clock, as well as
// it is known by now; clock is the worse of the two ends: synced, estimated or
// unknown. energyWh is what the session used, meterStart and meterEnd are registers
// in Wh. review names what a person should look at, separated by ";"; state is open
// as long as no end was received.
var sessionColumns = []string{"gateway", "transactionId", "station", "kind", "account", "uid", "startUtc", "startLocal", "endUtc", "endLocal",
	"seconds", "energyWh", "meterStart", "meterEnd", "stoppedReason", "clock", "review", "state"}

// CSV is how sessions are written for people.
type CSV struct {
	// Local is the time zone of the local columns.
	Local *time.Location
	// Excel has it open by a double click where numbers have a decimal comma: a mark for
	// UTF-8, semicolons, CRLF, and accounts and UIDs that look like numbers as the
	// formula ="0042", which is the text.
	Excel bool
}

// numeric is what a spreadsheet may take for a number or a date.
var numeric = regexp.MustCompile(`^[0-9][0-9.,:/eE +-]*$`)

func (c CSV) row(s *booking) []string {
	row := s.row(c.Local)
	if !c.Excel {
		return row
	}
	for i, name := range sessionColumns {
		if (name == "account" || name == "uid") && numeric.MatchString(row[i]) {
			row[i] = `="` + row[i] + `"`
		}
	}
	return row
}

// Write writes one row for each session of all gateways in the folder, each session
// once however often its records came, ordered by gateway and start. It only reads,
// also beside a running Receiver, one gateway at a time. Records that cannot be read
// are an error after everything else was written; without a folder nothing is, since
// a header alone would look like a house in which nobody has washed.
func (c CSV) Write(w io.Writer, dir string) error {
	if _, err := os.ReadDir(dir); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	out, err := c.begin(w)
	if err != nil {
		return err
	}
	return c.stored(out, dir)
}

// Follow writes what Write does, nothing but the header without a folder. The
// function it returns takes records as they come, each after it was stored, and
// writes the row of a session once its end is there, and again where a later record
// marks it for review. Records in the folder that cannot be read are told to odd.
func (c CSV) Follow(w io.Writer, dir string, odd func(error)) (func(Record) error, error) {
	out, err := c.begin(w)
	if err != nil {
		return nil, err
	}
	if dir != "" {
		if err := c.stored(out, dir); err != nil {
			odd(err)
		}
	}
	f := follower{dir: dir, books: make(map[string]*books)}
	return func(r Record) error {
		s, anchors, err := f.add(r)
		if s == nil || s.last.EventType != session.Ended {
			return err
		}
		s.resolve(anchors)
		err = errors.Join(err, out.Write(c.row(s)))
		out.Flush()
		return errors.Join(err, out.Error())
	}, nil
}

func (c CSV) begin(w io.Writer) (*csv.Writer, error) {
	out := csv.NewWriter(w)
	if c.Excel {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return nil, fmt.Errorf("write sessions: %w", err)
		}
		out.Comma, out.UseCRLF = ';', true
	}
	return out, out.Write(sessionColumns)
}

func (c CSV) stored(out *csv.Writer, dir string) error {
	var odd []error
	err := eachGateway(dir, func(gateway string) error {
		b, err := readBooks(dir, gateway, Record{})
		if err != nil {
			return err
		}
		odd = append(odd, b.odd...)
		for _, s := range b.sorted() {
			if err := out.Write(c.row(s)); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	})
	if err != nil {
		err = fmt.Errorf("write sessions: %w", err)
	}
	out.Flush()
	return errors.Join(err, out.Error(), errors.Join(odd...))
}

// followSessions is how many sessions a follower knows before it forgets those of all
// gateways but one: they are in the folder.
const followSessions = 100_000

// follower keeps the books of the gateways that send.
type follower struct {
	dir   string
	books map[string]*books
	known int // sessions in all books
}

// add books a record that is in the folder by now, and returns the session that it
// says something new about, and the anchors of its gateway.
func (f *follower) add(r Record) (s *booking, anchors map[string][]session.Stamp, err error) {
	b := f.books[r.Gateway]
	before := 0
	switch {
	case b != nil:
		before = len(b.sessions)
	case f.dir != "":
		if b, err = readBooks(f.dir, r.Gateway, r); err != nil {
			return nil, nil, err
		}
	default:
		b = newBooks()
	}
	s = b.add(r)
	if f.known += len(b.sessions) - before; f.known > followSessions {
		clear(f.books)
		f.known = len(b.sessions)
	}
	f.books[r.Gateway] = b
	err = errors.Join(b.odd...)
	b.odd = nil
	return s, b.anchors, err
}

// eachGateway walks the gateways in the folder by name.
func eachGateway(dir string, do func(gateway string) error) error {
	last := ""
	return eachLedger(dir, "*", func(gateway, _ string) error {
		if gateway == last {
			return nil
		}
		last = gateway
		return do(gateway)
	})
}

// readBooks books what the folder has of a gateway, in the ledger of before only the
// records before that one.
func readBooks(dir, gateway string, before Record) (*books, error) {
	b := newBooks()
	err := eachLedger(dir, gateway, func(_, ledger string) error {
		return readFile(newLedgerFile(dir, gateway, ledger).path, func(r Record) (more bool) {
			if r.Ledger == before.Ledger && r.Seq == before.Seq && r.Hash == before.Hash {
				return false
			}
			b.add(r)
			return true
		}, func(err error) { b.odd = append(b.odd, err) })
	})
	return b, err
}

// readFile gives the records in a ledger's file, in the order they came, while there
// are to be more.
func readFile(path string, each func(Record) (more bool), odd func(error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := nextLine(in)
		if err == io.EOF {
			return nil
		}
		if err != nil && err != errLong {
			return err
		}
		var r Record
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		if err != nil {
			odd(fmt.Errorf("%s, line %d: %w", path, n, err))
			continue
		}
		if !each(r) {
			return nil
		}
	}
}
