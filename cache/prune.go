package cache

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"badged/session"
)

// pruneMost is how many records one Prune looks at.
const pruneMost = 1000

// Prune removes records that the backend has committed and that are older than
// retention, at most 1,000, and says whether there may be more. A record's time is
// what is known of it by now, not what the clock said then; where only a bound is
// known, that. It stops at the first that is not known to be so old. The last
// record stays, whatever its age.
func (l *Ledger) Prune(_ context.Context, now time.Time, retention time.Duration) (more bool, err error) {
	err = l.change("prune ledger", func(tx *sql.Tx) error {
		upTo, err := oldest(tx, now.Add(-retention))
		if err != nil || upTo == 0 {
			return err
		}
		res, err := tx.Exec("DELETE FROM record WHERE no <= ? AND no < (SELECT max(no) FROM record)", upTo)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		more = n > 0
		return err
	})
	return more && err == nil, err
}

// oldest is the last of the first committed records that were all made before a
// time, 0 if there is none.
func oldest(tx *sql.Tx, before time.Time) (upTo uint64, err error) {
	rows, err := tx.Query(`SELECT no, body ->> '$.at' FROM record
		WHERE no <= (SELECT value FROM mark WHERE name = 'committed') ORDER BY no LIMIT ?`, pruneMost)
	if err != nil {
		return 0, err
	}
	var found []numbered
	for rows.Next() {
		var r numbered
		var at sql.NullString
		if err := rows.Scan(&r.no, &at); err != nil {
			rows.Close()
			return 0, err
		}
		if at.Valid && json.Unmarshal([]byte(at.String), &r.at) != nil {
			r.at = session.Stamp{}
		}
		found = append(found, r)
	}
	if err := rows.Close(); err != nil {
		return 0, err
	}
	boots := boots{}
	for _, r := range found {
		old, err := boots.olderThan(tx, r, before)
		if err != nil || !old {
			return upTo, err
		}
		upTo = r.no
	}
	return upTo, nil
}

// numbered is when a record was made.
type numbered struct {
	no uint64
	at session.Stamp
}

// boots are the anchors of boots that were asked for.
type boots map[string][]anchor

func (b boots) of(q queryer, boot string) ([]anchor, error) {
	anchors, known := b[boot]
	if known {
		return anchors, nil
	}
	anchors, err := anchorsWhere(q, "boot = ?", boot)
	b[boot] = anchors
	return anchors, err
}

// olderThan tells whether a record is known to have been made before a time.
func (b boots) olderThan(q queryer, r numbered, t time.Time) (bool, error) {
	anchors, err := b.of(q, r.at.BootID)
	switch {
	case err != nil:
		return false, err
	case len(anchors) > 0:
		return nearest(anchors, r.at.Up).at(r.at.Up).Before(t), nil
	case r.at.Clock == session.ClockSynced:
		return r.at.Wall.Before(t), nil
	}
	_, notAfter, err := bounds(q, r.at, r.no)
	return err == nil && !notAfter.IsZero() && notAfter.Before(t), err
}
