package cache

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"badged/session"
)

// newLedgerEvery bounds how often an acknowledgement can have a ledger begun.
const newLedgerEvery = 24 * time.Hour

// restored begins a new ledger after an acknowledgement that only makes sense
// if this file is an older copy of itself. What the backend has not committed
// is carried over, so that it is sent under numbers that are ours alone.
func (l *Ledger) restored() error {
	err := l.change("begin ledger", func(tx *sql.Tx) error {
		if due, err := l.renewalDue(tx); err != nil || !due {
			return err
		}
		return l.renew(tx, "restored")
	})
	if err == nil {
		l.wake()
	}
	return err
}

// renew begins a new ledger and carries over what the backend has not committed.
func (l *Ledger) renew(tx *sql.Tx, why string) error {
	committed, err := mark(tx, markCommitted)
	if err != nil {
		return err
	}
	end, _, err := l.end(tx)
	if err != nil {
		return err
	}
	if err := l.begin(tx, why); err != nil {
		return err
	}
	return l.carry(tx, committed, end)
}

// renewalDue is false within a day of the last renewal, and while it cannot be
// known whether a day has passed.
func (l *Ledger) renewalDue(tx *sql.Tx) (bool, error) {
	var opened []byte
	err := tx.QueryRow("SELECT opened FROM ledger WHERE why = 'restored' ORDER BY base DESC LIMIT 1").Scan(&opened)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var last session.Stamp
	if err := last.UnmarshalJSON(opened); err != nil {
		return false, err
	}
	now := l.opts.Stamp()
	up := now.Up
	if now.BootID == last.BootID {
		return now.Up-last.Up >= newLedgerEvery, nil
	}
	return up >= newLedgerEvery || now.Clock != session.ClockUnknown && now.Wall.Sub(last.Wall) >= newLedgerEvery, nil
}

// carry appends the records above from, up to to, to the ledger in force.
func (l *Ledger) carry(tx *sql.Tx, from, to uint64) error {
	rows, err := tx.Query("SELECT body FROM record WHERE no > ? AND no <= ? ORDER BY no", from, to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := l.carryOne(tx, body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// carryOne appends a record of an earlier ledger, unless it is its first.
func (l *Ledger) carryOne(tx *sql.Tx, body []byte) error {
	r, err := carriedFrom(body)
	if err != nil || r.kind == (session.LedgerOpened{}).RecordType() {
		return err
	}
	return l.append(tx, []session.Record{r})
}

// carried is a record that was made in an earlier ledger. Its field "carried"
// names the place and hash that it had there, by which a backend that has it
// already knows it.
type carried struct {
	kind   string
	fields map[string]any
}

func (c carried) RecordType() string           { return c.kind }
func (c carried) MarshalJSON() ([]byte, error) { return json.Marshal(c.fields) }

func carriedFrom(body []byte) (carried, error) {
	c := carried{}
	if err := decode(body, &c.fields); err != nil {
		return c, fmt.Errorf("carry record over: %w", err)
	}
	c.kind, _ = c.fields["type"].(string)
	if _, twice := c.fields["carried"]; !twice {
		c.fields["carried"] = map[string]any{"ledger": c.fields["ledger"], "seq": c.fields["seq"], "hash": hash(body)}
	}
	for _, own := range []string{"type", "ledger", "seq", "prev"} {
		delete(c.fields, own)
	}
	return c, nil
}
