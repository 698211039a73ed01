package cache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"badged/session"
)

// The marks are record numbers. Sending goes on above taken; replay, where it
// is not 0, is the next record to send again, up to replayEnd.
const (
	markTaken     = "taken"
	markCommitted = "committed"
	markReplay    = "replay"
	markReplayEnd = "replayEnd"
	markDropped   = "dropped" // telemetry that fell out of the ring
	markFloor     = "floor"   // last good time, Unix milliseconds
)

type marks struct{ taken, committed, replay, replayEnd uint64 }

func mark(q queryer, name string) (n uint64, err error) {
	err = q.QueryRowContext(context.Background(), "SELECT value FROM mark WHERE name = ?", name).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

func setMark(tx *sql.Tx, name string, n uint64) error {
	_, err := tx.Exec("INSERT OR REPLACE INTO mark VALUES (?, ?)", name, n)
	return err
}

func readMarks(q queryer) (m marks, err error) {
	for name, p := range m.fields() {
		if *p, err = mark(q, name); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *marks) fields() map[string]*uint64 {
	return map[string]*uint64{markTaken: &m.taken, markCommitted: &m.committed, markReplay: &m.replay, markReplayEnd: &m.replayEnd}
}

// moveMarks lets f move the marks of the ledger in force, in one transaction.
// ledger must be its id.
func (l *Ledger) moveMarks(what, ledger string, f func(tx *sql.Tx, m *marks, end uint64) error) error {
	return l.change(what, func(tx *sql.Tx) error {
		if ledger != l.id {
			return fmt.Errorf("%w: %q, ours is %q", session.ErrOtherLedger, ledger, l.id)
		}
		was, err := readMarks(tx)
		if err != nil {
			return err
		}
		end, _, err := l.end(tx)
		if err != nil {
			return err
		}
		m := was
		if err := f(tx, &m, end); err != nil {
			return err
		}
		old := was.fields()
		for name, p := range m.fields() {
			if *p != *old[name] {
				if err := setMark(tx, name, *p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Unsent returns up to limit records that are to be sent next, in order: those
// above taken; where there are none, those being replayed. It returns the same
// ones until Taken is called.
func (l *Ledger) Unsent(_ context.Context, limit int) (out []session.Message, err error) {
	err = l.read(func(db *sql.DB) error {
		m, err := readMarks(db)
		if err != nil {
			return err
		}
		out, err = messages(db, m.taken+1, 1<<62, limit)
		if err == nil && len(out) == 0 && m.replay != 0 {
			out, err = messages(db, m.replay, m.replayEnd, limit)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read unsent records: %w", err)
	}
	return out, nil
}

func messages(db *sql.DB, from, to uint64, limit int) ([]session.Message, error) {
	rows, err := db.Query(`SELECT no, body, id, base FROM record, (SELECT id, base FROM ledger ORDER BY base DESC LIMIT 1)
		WHERE no BETWEEN max(?, base + 1) AND ? ORDER BY no LIMIT ?`, from, to, limit)
	if err != nil {
		return nil, err
	}
	var out []session.Message
	var base uint64
	for rows.Next() {
		var m session.Message
		if err := rows.Scan(&m.Seq, &m.Record, &m.Ledger, &base); err != nil {
			rows.Close()
			return nil, err
		}
		m.Seq -= base
		m.Hash = hash(m.Record)
		out = append(out, m)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	return out, advise(db, out, base)
}

// Last returns the newest records of the ledger, up to n, oldest first.
func (l *Ledger) Last(_ context.Context, n uint64) (out []session.Message, err error) {
	err = l.read(func(db *sql.DB) error {
		end, _, err := lastRecord(db)
		if err == nil {
			out, err = messages(db, end-min(end, n)+1, end, int(n))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read newest records: %w", err)
	}
	return out, nil
}

// Taken notes that a broker has everything up to and including seq of what
// Unsent returned. One flush, so call it once for a batch.
func (l *Ledger) Taken(_ context.Context, ledger string, seq uint64) error {
	return l.moveMarks("mark taken", ledger, func(_ *sql.Tx, m *marks, end uint64) error {
		no := l.base + seq
		if seq > end-l.base {
			return fmt.Errorf("%w: %d, the last is %d", session.ErrBeyondEnd, seq, end-l.base)
		}
		if no <= m.taken {
			m.replayed(no)
		}
		m.taken = max(m.taken, no)
		if l.opts.BrokerAck {
			m.committed = max(m.committed, m.taken)
		}
		return nil
	})
}

// replayed notes that the replay has come to no.
func (m *marks) replayed(no uint64) {
	if m.replay == 0 || no < m.replay {
		return
	}
	m.replay = no + 1
	if m.replay > m.replayEnd {
		m.replay, m.replayEnd = 0, 0
	}
}

// again has from to to sent again, beside what is being replayed already.
func (m *marks) again(from, to uint64) {
	to = min(to, m.taken)
	if from > to {
		return
	}
	if m.replay == 0 {
		m.replay = from
	}
	m.replay, m.replayEnd = min(m.replay, from), max(m.replayEnd, to)
}

// Acknowledge takes the backend's word that it has committed everything up to
// and including upTo, whose hash it names. One that goes back is obeyed: what
// is above is sent again. An error that is session.ErrOtherLedger, ErrBeyondEnd
// or ErrOtherHash changes no mark; the last two say that this file is an older
// copy of itself (a restored or cloned card), so a new ledger is begun, at most
// one a day, and what was not yet committed is carried over into it.
func (l *Ledger) Acknowledge(_ context.Context, ledger string, upTo uint64, hash string) error {
	err := l.moveMarks("acknowledge", ledger, func(tx *sql.Tx, m *marks, end uint64) error {
		if upTo > end-l.base {
			return fmt.Errorf("%w: %d, the last is %d", session.ErrBeyondEnd, upTo, end-l.base)
		}
		no := l.base + upTo
		if err := l.sameHash(tx, no, hash); err != nil {
			return err
		}
		m.acknowledged(no)
		return nil
	})
	if errors.Is(err, session.ErrBeyondEnd) || errors.Is(err, session.ErrOtherHash) {
		return errors.Join(err, l.restored())
	}
	if err == nil {
		l.wake()
	}
	return err
}

func (m *marks) acknowledged(no uint64) {
	switch {
	case no < m.committed:
		m.committed = no
		m.again(no+1, m.taken)
	case no > m.committed:
		if m.replay > m.committed {
			m.replayed(no)
		}
		m.committed, m.taken = no, max(m.taken, no)
	}
}

// sameHash compares the backend's hash of a record with ours. A record that
// was pruned is past comparing.
func (l *Ledger) sameHash(tx *sql.Tx, no uint64, theirs string) error {
	ours := firstPrev
	if no > l.base {
		var body []byte
		err := tx.QueryRow("SELECT body FROM record WHERE no = ?", no).Scan(&body)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		ours = hash(body)
	}
	if theirs != ours && !(no == l.base && theirs == "") {
		return fmt.Errorf("%w: record %d has %s, not %s", session.ErrOtherHash, no-l.base, ours, theirs)
	}
	return nil
}

// Rewind has the records from to to sent again, after any new ones; from 0 is
// the first that the backend has not committed, to 0 the last.
func (l *Ledger) Rewind(_ context.Context, from, to uint64) error {
	err := l.moveMarks("rewind", l.ledger(), func(_ *sql.Tx, m *marks, end uint64) error {
		first, last := l.base+min(from, end-l.base+1), end
		if from == 0 {
			first = m.committed + 1
		}
		if to != 0 {
			last = l.base + min(to, end-l.base)
		}
		m.again(first, last)
		return nil
	})
	if err == nil {
		l.wake()
	}
	return err
}

func (l *Ledger) ledger() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// Stats is the state of the ledger for the status.
type Stats struct {
	session.Outbox
	Replaying uint64 // records still to be sent again
	Telemetry uint64 // entries in the ring
	Dropped   uint64 // entries that fell out of it, ever
	Bytes     int64  // size of the file
}

// Stats reads how far everything has come.
func (l *Ledger) Stats(context.Context) (s Stats, err error) {
	err = l.change("read ledger", func(tx *sql.Tx) error {
		m, err := readMarks(tx)
		if err != nil {
			return err
		}
		end, endHash, err := l.end(tx)
		if err != nil {
			return err
		}
		s.Outbox = session.Outbox{Ledger: l.id, End: end - l.base, EndHash: endHash, Taken: m.taken - l.base, Committed: m.committed - l.base}
		if m.replay != 0 {
			s.Replaying = m.replayEnd - m.replay + 1
		}
		if s.Dropped, err = mark(tx, markDropped); err != nil {
			return err
		}
		return tx.QueryRow("SELECT count(*), (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) FROM telemetry").Scan(&s.Telemetry, &s.Bytes)
	})
	return s, err
}

// Outbox is how far the records have come.
func (l *Ledger) Outbox(ctx context.Context) (session.Outbox, error) {
	s, err := l.Stats(ctx)
	return s.Outbox, err
}
