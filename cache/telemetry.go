package cache

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"badged/session"
)

// ring keeps telemetry; where the ring is full the oldest falls out, counted.
func (l *Ledger) ring(tx *sql.Tx, entries []session.Telemetry) error {
	for _, t := range entries {
		body, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("telemetry %s: %w", t.Type, err)
		}
		if _, err := tx.Exec("INSERT INTO telemetry (body) VALUES (?)", string(body)); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	res, err := tx.Exec("DELETE FROM telemetry WHERE no <= (SELECT max(no) FROM telemetry) - ?", l.opts.Telemetry)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if n == 0 || err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO mark VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2", markDropped, n)
	return err
}

// NextTelemetry returns the oldest entries of the ring, up to limit. Of the
// message only Seq, the place in the ring, and Record are set.
func (l *Ledger) NextTelemetry(_ context.Context, limit int) (out []session.Message, err error) {
	err = l.read(func(db *sql.DB) error {
		out = nil
		rows, err := db.Query("SELECT no, body FROM telemetry ORDER BY no LIMIT ?", limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m session.Message
			if err := rows.Scan(&m.Seq, &m.Record); err != nil {
				return err
			}
			out = append(out, m)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read telemetry: %w", err)
	}
	return out, nil
}

// DropTelemetry removes the entries up to and including upTo from the ring:
// they were sent.
func (l *Ledger) DropTelemetry(_ context.Context, upTo uint64) error {
	return l.change("drop telemetry", func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM telemetry WHERE no <= ?", upTo)
		return err
	})
}

// HighestHead is the highest head of the list that RaiseHead was told of, without
// IssuedAt; the zero ListVersion if none. Its digest is zero where only the number
// is known.
func (l *Ledger) HighestHead(ctx context.Context, list string) (v session.ListVersion, err error) {
	err = l.read(func(db *sql.DB) error {
		row := db.QueryRowContext(ctx, "SELECT list, epoch, version, digest, coalesce(count, 0) FROM head WHERE list = ?", list)
		v, err = scanHead(row.Scan)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return session.ListVersion{}, nil
	}
	return v, err
}

// scanHead reads list, epoch, version, digest and count.
func scanHead(scan scanner) (v session.ListVersion, err error) {
	var digest []byte
	if err := scan(&v.List, &v.Epoch, &v.Version, &digest, &v.Count); err != nil {
		return session.ListVersion{}, err
	}
	copy(v.Digest[:], digest)
	return v, nil
}

// RaiseHead keeps v as the highest head seen of its list. A zero digest is one that
// is not known; the first that is known of a number stays. A lower head, or what is
// known already, changes nothing and costs no flush.
func (l *Ledger) RaiseHead(ctx context.Context, v session.ListVersion) error {
	if err := storable(v); err != nil {
		return fmt.Errorf("raise list head: %w", err)
	}
	was, err := l.HighestHead(ctx, v.List)
	if err != nil {
		return err
	}
	known := was.Digest != session.Digest{} || v.Digest == session.Digest{}
	if order := v.Compare(was); order < 0 || order == 0 && known {
		return nil
	}
	return l.change("raise list head", func(tx *sql.Tx) error { return raise(tx, v) })
}

func raise(tx *sql.Tx, v session.ListVersion) error {
	var digest, count any // NULL
	if v.Digest != (session.Digest{}) {
		digest, count = v.Digest[:], v.Count
	}
	_, err := tx.Exec(`INSERT INTO head VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
		SET epoch = excluded.epoch, version = excluded.version, digest = excluded.digest, count = excluded.count
		WHERE (excluded.epoch, excluded.version) > (epoch, version) OR (excluded.epoch, excluded.version) = (epoch, version) AND digest IS NULL`,
		v.List, int64(v.Epoch), int64(v.Version), digest, count)
	return err
}

// KeySet is the message that SaveKeySet was told last of the list, nil if none.
func (l *Ledger) KeySet(ctx context.Context, list string) (message []byte, err error) {
	err = l.db.QueryRowContext(ctx, "SELECT message FROM keyset WHERE list = ?", list).Scan(&message)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return message, err
}

// SaveKeySet keeps a message that says who may sign a list. What may follow on
// what is the caller's to judge.
func (l *Ledger) SaveKeySet(_ context.Context, list string, message []byte) error {
	return l.change("keep key set", func(tx *sql.Tx) error { return putKeySet(tx, list, message) })
}

func putKeySet(tx *sql.Tx, list string, message []byte) error {
	_, err := tx.Exec("INSERT OR REPLACE INTO keyset VALUES (?, ?)", list, message)
	return err
}

// Floor is the last good time that SetFloor was told, the zero time if none.
func (l *Ledger) Floor(context.Context) (time.Time, error) {
	var ms uint64
	err := l.read(func(db *sql.DB) (err error) {
		ms, err = mark(db, markFloor)
		return err
	})
	if ms == 0 || err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(ms)).UTC(), nil
}

// SetFloor keeps t as the last good time. A synchronisation replaces it
// downwards too.
func (l *Ledger) SetFloor(_ context.Context, t time.Time) error {
	if t.UnixMilli() < 0 {
		return fmt.Errorf("set time floor: %v is before 1970", t)
	}
	return l.change("set time floor", func(tx *sql.Tx) error { return setMark(tx, markFloor, uint64(t.UnixMilli())) })
}

// spentIDs is how many ids of commands are remembered. A command also names the
// connection's nonce, so only those of one connection matter.
const spentIDs = 4096

// Spend notes the id of a command and says whether this is the first time.
func (l *Ledger) Spend(_ context.Context, id string) (first bool, err error) {
	err = l.change("note command", func(tx *sql.Tx) error {
		res, err := tx.Exec("INSERT OR IGNORE INTO spent (id) VALUES (?)", id)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if first = n == 1; err != nil || !first {
			return err
		}
		_, err = tx.Exec("DELETE FROM spent WHERE no <= (SELECT max(no) FROM spent) - ?", spentIDs)
		return err
	})
	return first && err == nil, err
}
