package cache

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"

	"badged/session"
)

// salvaged is what can still be read of a damaged ledger: the states of the
// stations, so that running sessions run on, the ratchets, the ties to the clock,
// and the records that the backend has not committed. Those stay in the file until
// they are carried over: there may be more of them than memory.
type salvaged struct {
	path    string
	db      *sql.DB
	ledger  string // "" where it is not known
	base    uint64
	states  map[string][]byte
	heads   []session.ListVersion
	keysets map[string][]byte // of lists
	anchors []anchor
	spent   []string
	floor   uint64
	carried int
	lost    int // records that were changed since they were made, or cannot be read
}

// salvage opens a file, for reading only, and looks at what it can; what cannot be
// read is not there.
func salvage(path string) (*salvaged, error) {
	c, err := newConnector(path, ledgerSchema.pageSize)
	if err != nil {
		return nil, err
	}
	c.dsn += "&mode=ro"
	c.readOnly = true
	s := &salvaged{path: path, db: sql.OpenDB(c)}
	s.db.SetMaxOpenConns(1)
	s.states = named(s.db, "SELECT station, body FROM state")
	s.keysets = named(s.db, "SELECT list, message FROM keyset")
	// A file of an earlier version has no digests.
	for _, known := range []string{"digest, coalesce(count, 0)", "NULL, 0"} {
		each(s.db, "SELECT list, epoch, version, "+known+" FROM head", func(scan scanner) error {
			v, err := scanHead(scan)
			if err == nil {
				s.heads = append(s.heads, v)
			}
			return err
		})
	}
	each(s.db, "SELECT id FROM spent ORDER BY no", func(scan scanner) error {
		var id string
		err := scan(&id)
		if err == nil {
			s.spent = append(s.spent, id)
		}
		return err
	})
	s.anchors, _ = anchorsWhere(s.db, "true")
	s.floor, _ = mark(s.db, markFloor)
	if s.db.QueryRow("SELECT id, base FROM ledger ORDER BY base DESC LIMIT 1").Scan(&s.ledger, &s.base) != nil {
		_ = s.db.QueryRow("SELECT body ->> '$.ledger', no - (body ->> '$.seq') FROM record ORDER BY no DESC LIMIT 1").Scan(&s.ledger, &s.base)
	}
	return s, nil
}

// carry gives the records that are as they were made to f, in order. A place that
// cannot be read costs what is there, not what comes after it: from there on the
// file is read as far as it can be from its end, and what is between is looked for
// page by page.
func (s *salvaged) carry(f func(body []byte) error) error {
	from, _ := mark(s.db, markCommitted)
	c := carrier{f: f, last: from}
	c.read(s.db, from+1)
	tail := uint64(0)
	each(s.db, fmt.Sprintf("SELECT no, body FROM record WHERE no > %d ORDER BY no DESC", c.last), func(scan scanner) error {
		var no uint64
		var body []byte
		err := scan(&no, &body)
		if err == nil {
			tail = no
		}
		return err
	})
	s.between(&c, tail)
	if tail > 0 {
		c.read(s.db, tail)
	}
	c.pass()
	s.carried, s.lost = c.carried, c.lost
	return c.err
}

// between has c take what is found of the records after its last and before the
// one numbered tail, 0 for the end. Where it is not known which ledger is in force,
// that is all of every ledger that the file has held.
func (s *salvaged) between(c *carrier, tail uint64) {
	look := scan{ledger: s.ledger, to: math.MaxUint64}
	ledger, base, last := s.ledger, s.base, c.last
	if ledger == "" {
		ledger, base = c.ledger, c.base // of what was read, if anything
	} else {
		look.from = max(last, base) - base
	}
	if s.ledger != "" && tail > 0 {
		look.to = tail - base
	}
	look.run(s.path)
	now := ledger
	for _, r := range look.found {
		if r.ledger != now {
			c.pass()
			c.last, now = 0, r.ledger // others have numbers of their own
		}
		no, least := r.seq, uint64(0)
		if r.ledger == ledger {
			no, least = base+r.seq, last
		}
		if body, ok := r.body(); ok && no > least && (tail == 0 || no < tail) {
			c.take(no, body)
		}
	}
}

// carrier checks each record by the next, which names its hash.
type carrier struct {
	f       func(body []byte) error
	last    uint64 // number met, or that of the last not wanted; 0 if none
	ledger  string // of the last record that could be read, "" if none
	base    uint64 // of that ledger
	before  []byte // the record last, not yet passed on
	carried int
	lost    int
	err     error // of f
}

// read takes the records from a number on, until one cannot be read. A search for
// what is above a number would look where that number is.
func (c *carrier) read(db *sql.DB, from uint64) {
	each(db, fmt.Sprintf("SELECT no, body FROM record WHERE no >= %d ORDER BY no", from), func(scan scanner) error {
		var no uint64
		var body []byte
		if err := scan(&no, &body); err != nil {
			return err
		}
		c.take(no, body)
		return c.err
	})
}

func (c *carrier) take(no uint64, body []byte) {
	var is struct {
		Ledger, Prev string
		Seq          uint64
	}
	whole := json.Unmarshal(body, &is) == nil
	if whole && c.before != nil && no == c.last+1 && is.Prev != hash(c.before) && is.Prev != firstPrev {
		c.before = nil // changed since it was made
		c.lost++
	}
	c.pass()
	if c.last > 0 && no > c.last {
		c.lost += int(no - c.last - 1)
	}
	c.last = no
	if whole {
		c.before, c.ledger, c.base = body, is.Ledger, no-is.Seq
	} else {
		c.lost++
	}
}

func (c *carrier) pass() {
	if c.before != nil && c.err == nil {
		c.err = c.f(c.before)
		c.carried++
	}
	c.before = nil
}

type scanner func(...any) error

// each calls f for the rows until one cannot be read.
func each(db *sql.DB, query string, f func(scanner) error) {
	rows, err := db.Query(query)
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		if f(rows.Scan) != nil {
			return
		}
	}
}

// named reads rows of a name and what it stands for.
func named(db *sql.DB, query string) map[string][]byte {
	found := map[string][]byte{}
	each(db, query, func(scan scanner) error {
		var name string
		var body []byte
		err := scan(&name, &body)
		if err == nil {
			found[name] = body
		}
		return err
	})
	return found
}

func (s *salvaged) String() string {
	return fmt.Sprintf("saved %d stations' states and %d records not yet acknowledged, %d records had been changed or could not be read",
		len(s.states), s.carried, s.lost)
}

// adopt puts what was salvaged into the ledger in force. Ties to the clock come
// before all that the new file will have.
func (l *Ledger) adopt(tx *sql.Tx, s *salvaged) error {
	for _, v := range s.heads {
		if err := raise(tx, v); err != nil {
			return err
		}
	}
	for list, message := range s.keysets {
		if err := putKeySet(tx, list, message); err != nil {
			return err
		}
	}
	for i, a := range s.anchors {
		if err := insertAnchor(tx, i-len(s.anchors), a); err != nil {
			return err
		}
	}
	for _, id := range s.spent {
		if _, err := tx.Exec("INSERT OR IGNORE INTO spent (id) VALUES (?)", id); err != nil {
			return err
		}
	}
	if err := setMark(tx, markFloor, s.floor); err != nil {
		return err
	}
	if err := l.put(tx, session.Commit{States: s.states}); err != nil {
		return err
	}
	return s.carry(func(body []byte) error { return l.carryOne(tx, body) })
}
