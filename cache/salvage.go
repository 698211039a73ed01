package cache

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"badged/session"
)

// salvaged is what can still be read of a damaged ledger: the states of the
// stations, so that running sessions run on, the ratchets, the ties to the clock,
// and the records that the backend has not committed. Those stay in the file until
// they are carried over: there may be more of them than memory.
type salvaged struct {
	db      *sql.DB
	ledger  string
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
	s := &salvaged{db: sql.OpenDB(c)}
	s.db.SetMaxOpenConns(1)
	s.states = named(s.db, "SELECT station, body FROM state")
	s.keysets = named(s.db, "SELECT list, message FROM keyset")
	// A file of an earlier version has no digests.
	for _, known := range []string{"digest, coalesce(count, 0)", "NULL, 0"} {
		each(s.db, "SELECT list, epoch, version, "+known+" FROM head", func(scan scan) error {
			v, err := scanHead(scan)
			if err == nil {
				s.heads = append(s.heads, v)
			}
			return err
		})
	}
	each(s.db, "SELECT id FROM spent ORDER BY no", func(scan scan) error {
		var id string
		err := scan(&id)
		if err == nil {
			s.spent = append(s.spent, id)
		}
		return err
	})
	s.anchors, _ = anchorsWhere(s.db, "true")
	s.floor, _ = mark(s.db, markFloor)
	_ = s.db.QueryRow("SELECT id FROM ledger ORDER BY base DESC LIMIT 1").Scan(&s.ledger)
	return s, nil
}

// carry gives the records that are as they were made to f, in order. A place that
// cannot be read costs what is there, not what comes after it: from there on the
// file is read as far as it can be from its end.
func (s *salvaged) carry(f func(body []byte) error) error {
	from, _ := mark(s.db, markCommitted)
	c := carrier{f: f}
	c.read(s.db, from+1)
	tail := uint64(0)
	each(s.db, fmt.Sprintf("SELECT no, body FROM record WHERE no > %d ORDER BY no DESC", c.last), func(scan scan) error {
		var no uint64
		var body []byte
		err := scan(&no, &body)
		if err == nil {
			tail = no
		}
		return err
	})
	if tail > 0 {
		c.read(s.db, tail)
	}
	c.pass()
	if from == 0 && c.first > 0 { // all that are here are wanted, not those that were pruned
		from = c.first - 1
	}
	s.carried, s.lost = c.carried, max(0, int(c.last-from)-c.carried)
	return c.err
}

// carrier checks each record by the next, which names its hash.
type carrier struct {
	f           func(body []byte) error
	first, last uint64 // numbers met
	before      []byte // the record last, not yet passed on
	carried     int
	err         error // of f
}

// read takes the records from a number on, until one cannot be read. A search for
// what is above a number would look where that number is.
func (c *carrier) read(db *sql.DB, from uint64) {
	each(db, fmt.Sprintf("SELECT no, body FROM record WHERE no >= %d ORDER BY no", from), func(scan scan) error {
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
	var is struct{ Prev string }
	whole := json.Unmarshal(body, &is) == nil
	if whole && c.before != nil && no == c.last+1 && is.Prev != hash(c.before) && is.Prev != firstPrev {
		c.before = nil // changed since it was made
	}
	c.pass()
	if c.first == 0 {
		c.first = no
	}
	c.last = no
	if whole {
		c.before = body
	}
}

func (c *carrier) pass() {
	if c.before != nil && c.err == nil {
		c.err = c.f(c.before)
		c.carried++
	}
	c.before = nil
}

type scan func(...any) error

// each calls f for the rows until one cannot be read.
func each(db *sql.DB, query string, f func(scan) error) {
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
	each(db, query, func(scan scan) error {
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
