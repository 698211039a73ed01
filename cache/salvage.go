package cache

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"badged/session"
)

// salvaged is what could still be read of a damaged ledger: the states of the
// stations, so that running sessions run on, the heads and key sets of the lists,
// and the records that the backend had not committed.
type salvaged struct {
	ledger  string
	states  map[string][]byte
	heads   []session.ListVersion
	keysets map[string][]byte
	records [][]byte
	lost    int // records that were changed since they were made
}

// salvage reads what it can; what cannot be read is not there. The file is
// opened for reading only and stays as it is.
func salvage(aside string) (s salvaged) {
	c, err := newConnector(aside, ledgerSchema.pageSize)
	if err != nil {
		return s
	}
	c.dsn += "&mode=ro"
	c.readOnly = true
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	defer db.Close()
	s.states = named(db, "SELECT station, body FROM state")
	s.keysets = named(db, "SELECT list, message FROM keyset")
	each(db, "SELECT list, epoch, version FROM head", func(scan func(...any) error) error {
		var v session.ListVersion
		err := scan(&v.List, &v.Epoch, &v.Version)
		if err == nil {
			s.heads = append(s.heads, v)
		}
		return err
	})
	db.QueryRow("SELECT id FROM ledger ORDER BY base DESC LIMIT 1").Scan(&s.ledger)
	s.readRecords(db)
	return s
}

// readRecords keeps the records that are as they were made: the next one, where
// there is one, names their hash.
func (s *salvaged) readRecords(db *sql.DB) {
	var before []byte
	each(db, `SELECT body FROM record WHERE no > coalesce((SELECT value FROM mark WHERE name = 'committed'), 0) ORDER BY no`,
		func(scan func(...any) error) error {
			var body []byte
			if err := scan(&body); err != nil {
				return err
			}
			var r struct{ Prev string }
			if json.Unmarshal(body, &r) != nil {
				s.lost++
				before = nil
				return nil
			}
			if before != nil && r.Prev != hash(before) && r.Prev != firstPrev {
				s.lost++
				s.records = s.records[:len(s.records)-1]
			}
			s.records, before = append(s.records, body), body
			return nil
		})
}

// each calls f for the rows until one cannot be read.
func each(db *sql.DB, query string, f func(scan func(...any) error) error) {
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
	each(db, query, func(scan func(...any) error) error {
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

func (s salvaged) String() string {
	return fmt.Sprintf("saved %d stations' states and %d records not yet acknowledged, %d records had been changed", len(s.states), len(s.records), s.lost)
}

// adopt puts what was salvaged into the ledger in force.
func (l *Ledger) adopt(tx *sql.Tx, s salvaged) error {
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
	if err := l.put(tx, session.Commit{States: s.states}); err != nil {
		return err
	}
	for _, body := range s.records {
		if err := l.carryOne(tx, body); err != nil {
			return err
		}
	}
	return nil
}
