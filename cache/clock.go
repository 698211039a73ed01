package cache

import (
	"database/sql"
	"encoding/json"
	"time"

	"badged/session"
)

// wallFormat is how session.Stamp writes a wall clock.
const wallFormat = "2006-01-02T15:04:05.000Z"

// anchor ties a boot's own time to the wall clock: up after the boot it was
// wall. no is the record that said so.
type anchor struct {
	no   uint64
	up   time.Duration
	wall time.Time
}

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
	_, err := tx.Exec("INSERT INTO anchor VALUES (?, ?, ?, ?)", no, at.BootID, at.Up.Microseconds(), at.Wall.UnixMilli())
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

// advise fills in the messages' Time.
func (l *Ledger) advise(messages []session.Message, base uint64) error {
	boots := map[string][]anchor{}
	for i := range messages {
		m := &messages[i]
		var r struct {
			At      *session.Stamp
			Carried json.RawMessage
		}
		if err := json.Unmarshal(m.Record, &r); err != nil || r.At == nil {
			continue // a record without a time has no advice
		}
		anchors, known := boots[r.At.BootID]
		if !known {
			var err error
			if anchors, err = anchorsOf(l.db, r.At.BootID); err != nil {
				return err
			}
			boots[r.At.BootID] = anchors
		}
		a, err := advise(l.db, *r.At, anchors, base+m.Seq, r.Carried != nil)
		if err != nil {
			return err
		}
		if m.Time, err = json.Marshal(a); err != nil {
			return err
		}
	}
	return nil
}

func advise(db *sql.DB, at session.Stamp, anchors []anchor, no uint64, carried bool) (advice, error) {
	if len(anchors) > 0 {
		return advice{Wall: format(nearest(anchors, at.Up).at(at.Up)), Clock: session.ClockSynced}, nil
	}
	a := advice{Wall: format(at.Wall), Clock: at.Clock}
	if carried || at.Clock == session.ClockSynced {
		return a, nil // carried over, its number says nothing about when it was made
	}
	before, err := anchorWhere(db, "no < ? ORDER BY no DESC", no)
	if err != nil {
		return a, err
	}
	after, err := anchorWhere(db, "no > ? ORDER BY no", no)
	if err != nil {
		return a, err
	}
	if before != nil { // its boot began after that
		a.NotBefore = format(before.wall.Add(at.Up))
	}
	if after != nil { // its boot was over when that one's began
		a.NotAfter = format(after.at(0))
	}
	return a, nil
}

func format(t time.Time) string { return t.UTC().Format(wallFormat) }

// nearest chooses the anchor whose drift up to the moment is least, among those
// that agree with the last: a clock that was stepped was wrong before.
func nearest(anchors []anchor, up time.Duration) anchor {
	last := anchors[len(anchors)-1]
	best := last
	for _, a := range anchors {
		drift := a.wall.Sub(last.at(a.up)).Abs()
		if drift <= time.Second+(last.up-a.up).Abs()/2000 && (a.up-up).Abs() < (best.up-up).Abs() {
			best = a
		}
	}
	return best
}

// LastAnchor is the last ClockAnchor of a boot that the ledger has; ok is false if
// it has none.
func (l *Ledger) LastAnchor(boot string) (at session.Stamp, ok bool, err error) {
	all, err := anchorsOf(l.db, boot)
	if err != nil || len(all) == 0 {
		return at, false, err
	}
	last := all[len(all)-1]
	return session.Stamp{BootID: boot, Up: last.up, Wall: last.wall, Clock: session.ClockSynced}, true, nil
}

func anchorsOf(db *sql.DB, boot string) ([]anchor, error) {
	rows, err := db.Query("SELECT no, up, wall FROM anchor WHERE boot = ? ORDER BY no", boot)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []anchor
	for rows.Next() {
		a, err := scanAnchor(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

func anchorWhere(db *sql.DB, where string, no uint64) (*anchor, error) {
	a, err := scanAnchor(db.QueryRow("SELECT no, up, wall FROM anchor WHERE "+where+" LIMIT 1", no))
	if err == sql.ErrNoRows {
		return nil, nil
	}
	return &a, err
}

func scanAnchor(row interface{ Scan(...any) error }) (anchor, error) {
	var no uint64
	var up, wall int64
	err := row.Scan(&no, &up, &wall)
	return anchor{no, time.Duration(up) * time.Microsecond, time.UnixMilli(wall)}, err
}
