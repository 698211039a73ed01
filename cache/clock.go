package cache

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"badged/session"
)

// wallFormat is how session.Stamp writes a wall clock.
const wallFormat = "2006-01-02T15:04:05.000Z"

// anchor ties a boot's own time to the wall clock: up after the boot it was
// wall. no is the record that said so; one of an earlier file has none of this
// one's, it is negative.
type anchor struct {
	no   int64
	boot string
	up   time.Duration
	wall time.Time
}

func (a anchor) stamp() session.Stamp { return session.Stamp{Up: a.up, Wall: a.wall} }

// at is the wall clock at another moment of the anchor's boot.
func (a anchor) at(up time.Duration) time.Time { return a.wall.Add(up - a.up) }

// keepAnchor keeps what a ClockAnchor says beside the ledger.
func keepAnchor(tx *sql.Tx, no uint64, r session.Record) error {
	var at session.Stamp
	switch a := r.(type) {
	case session.ClockAnchor:
		at = a.At
	case *session.ClockAnchor:
		at = a.At
	default:
		return nil
	}
	if at.Clock != session.ClockSynced {
		return nil
	}
	return insertAnchor(tx, int(no), anchor{boot: at.BootID, up: at.Up, wall: at.Wall})
}

func insertAnchor(tx *sql.Tx, no int, a anchor) error {
	_, err := tx.Exec("INSERT INTO anchor VALUES (?, ?, ?, ?)", no, a.boot, a.up.Microseconds(), a.wall.UnixMilli())
	return err
}

// advice is what is known by now of a record's wall clock: its time if a clock
// was synchronised in its boot, else what the clock said then, with the bounds
// that earlier and later boots give.
type advice struct {
	Wall      string               `json:"wall"`
	Clock     session.ClockQuality `json:"clock"`
	NotBefore string               `json:"notBefore,omitempty"`
	NotAfter  string               `json:"notAfter,omitempty"`
}

// advise fills in the messages' Time. base is of their ledger.
func advise(db *sql.DB, messages []session.Message, base uint64) error {
	boots := boots{}
	for i := range messages {
		m := &messages[i]
		var r struct {
			At      *session.Stamp
			Carried json.RawMessage
		}
		if err := json.Unmarshal(m.Record, &r); err != nil || r.At == nil {
			continue // a record without a time has no advice
		}
		anchors, err := boots.of(db, r.At.BootID)
		if err != nil {
			return err
		}
		a := advice{Wall: format(r.At.Wall), Clock: r.At.Clock}
		switch {
		case len(anchors) > 0:
			a = advice{Wall: format(nearest(anchors, r.At.Up).at(r.At.Up)), Clock: session.ClockSynced}
		case r.At.Clock != session.ClockSynced && r.Carried == nil: // else its number says nothing about when it was made
			from, to, err := bounds(db, *r.At, base+m.Seq)
			if err != nil {
				return err
			}
			a.NotBefore, a.NotAfter = limit(from), limit(to)
		}
		if m.Time, err = json.Marshal(a); err != nil {
			return err
		}
	}
	return nil
}

// bounds are those of record no, whose boot has no anchor: it was made after the
// anchor before it, in a boot that began after that, and before the boot of the
// anchor after it began; zero is no bound. Bounds that exclude each other say that
// one of the clocks was wrong, and nobody knows which: then there are none.
func bounds(q queryer, at session.Stamp, no uint64) (from, to time.Time, err error) {
	before, err := anchorsWhere(q, "no = (SELECT max(no) FROM anchor WHERE no < ?)", no)
	if err != nil {
		return from, to, err
	}
	after, err := anchorsWhere(q, "boot = (SELECT boot FROM anchor WHERE no > ? ORDER BY no LIMIT 1)", no)
	if err != nil {
		return from, to, err
	}
	if len(before) > 0 {
		from = before[0].wall.Add(at.Up)
	}
	if len(after) > 0 {
		to = nearest(after, 0).at(0)
	}
	if len(before) > 0 && len(after) > 0 && to.Before(from) {
		return time.Time{}, time.Time{}, nil
	}
	return from, to, nil
}

func format(t time.Time) string { return t.UTC().Format(wallFormat) }

// limit is a bound in words, "" of none.
func limit(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return format(t)
}

// nearest chooses the anchor whose drift up to the moment is least, among those
// that agree with the last: a clock that was stepped was wrong before.
func nearest(anchors []anchor, up time.Duration) anchor {
	last := anchors[len(anchors)-1]
	best := last
	for _, a := range anchors {
		if a.stamp().Agrees(last.stamp()) && (a.up-up).Abs() < (best.up-up).Abs() {
			best = a
		}
	}
	return best
}

// LastAnchor is the last ClockAnchor of a boot that the ledger has; ok is false if
// it has none. Source is "ledger" where the record itself has gone.
func (l *Ledger) LastAnchor(boot string) (last session.ClockAnchor, ok bool, err error) {
	err = l.read(func(db *sql.DB) error {
		all, err := anchorsWhere(db, "boot = ?", boot)
		if ok = len(all) > 0; err != nil || !ok {
			return err
		}
		a := all[len(all)-1]
		last = session.ClockAnchor{At: session.Stamp{BootID: boot, Up: a.up, Wall: a.wall, Clock: session.ClockSynced}, Source: "ledger"}
		err = db.QueryRow("SELECT body ->> '$.source', body ->> '$.why' FROM record WHERE no = ?", a.no).Scan(&last.Source, &last.Why)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return last, ok, err
}

// anchorsWhere reads anchors in their order.
func anchorsWhere(q queryer, where string, args ...any) ([]anchor, error) {
	rows, err := q.QueryContext(context.Background(), "SELECT no, boot, up, wall FROM anchor WHERE "+where+" ORDER BY no", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []anchor
	for rows.Next() {
		var a anchor
		var up, wall int64
		if err := rows.Scan(&a.no, &a.boot, &up, &wall); err != nil {
			return nil, err
		}
		a.up, a.wall = time.Duration(up)*time.Microsecond, time.UnixMilli(wall)
		out = append(out, a)
	}
	return out, rows.Err()
}
