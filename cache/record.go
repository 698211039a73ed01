package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"badged/session"

	"github.com/gowebpki/jcs"
)

// firstPrev stands for the hash before the first record of a ledger.
var firstPrev = strings.Repeat("0", 64)

// append gives records their places at the end of the ledger.
func (l *Ledger) append(tx *sql.Tx, records []session.Record) error {
	if len(records) == 0 {
		return nil
	}
	no, prev, err := l.end(tx)
	if err != nil {
		return err
	}
	for _, r := range records {
		no++
		body, err := canonical(r, l.id, no-l.base, prev)
		if err != nil {
			return fmt.Errorf("record %s: %w", r.RecordType(), err)
		}
		if _, err := tx.Exec("INSERT INTO record VALUES (?, ?)", no, string(body)); err != nil {
			return err
		}
		if err := keepAnchor(tx, no, r); err != nil {
			return err
		}
		prev = hash(body)
	}
	return nil
}

// end is the number and hash of the ledger's last record.
func (l *Ledger) end(q queryer) (no uint64, prev string, err error) {
	no, body, err := lastRecord(q)
	if err != nil || no <= l.base {
		return l.base, firstPrev, err
	}
	return no, hash(body), nil
}

func lastRecord(q queryer) (no uint64, body []byte, err error) {
	err = q.QueryRowContext(context.Background(), "SELECT no, body FROM record ORDER BY no DESC LIMIT 1").Scan(&no, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	return no, body, err
}

// canonical is the stored and sent form of a record: its own fields and type,
// ledger, seq and prev beside them, by RFC 8785.
func canonical(r session.Record, ledger string, seq uint64, prev string) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := decode(b, &fields); err != nil {
		return nil, err
	}
	for name, value := range map[string]any{"type": r.RecordType(), "ledger": ledger, "seq": seq, "prev": prev} {
		if _, taken := fields[name]; taken {
			return nil, fmt.Errorf("has a field %q of its own", name)
		}
		fields[name] = value
	}
	if b, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	if err := plain(b); err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// plain refuses what has not one form in every language: null, fractions and
// exponents, and integers from 2^53 on (RFC 8785, 3.2.2.3).
func plain(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, ok := t.(json.Number)
		if t == nil || ok && !safe(n) {
			return fmt.Errorf("%v: want strings, booleans and integers below 2^53", t)
		}
	}
}

func safe(n json.Number) bool {
	i, err := n.Int64()
	return err == nil && -1<<53 < i && i < 1<<53
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// starts says whether records begin a session.
func starts(records []session.Record) bool {
	for _, r := range records {
		switch e := r.(type) {
		case session.TransactionEvent:
			if e.EventType == session.Started {
				return true
			}
		case *session.TransactionEvent:
			if e.EventType == session.Started {
				return true
			}
		}
	}
	return false
}

// maxCheck bounds what is read of the ledger at the start: the last records,
// of which most are still to be sent.
const maxCheck = 2000

// maxQuick is the size up to which the whole file is read at the start; Check
// does it for larger ones.
const maxQuick = 8 << 20

// checkLedger looks at a ledger when it is opened: a small one whole, and of
// each the last records, whether each has the hash of the one before.
func checkLedger(db *sql.DB, size int64) error {
	if size <= maxQuick {
		if err := quickCheck(context.Background(), db); err != nil {
			return err
		}
	}
	return lastFollow(db)
}

// lastFollow looks at the last records, whether each has the hash of the one before.
func lastFollow(db *sql.DB) error {
	rows, err := db.Query("SELECT no, body FROM record WHERE no > (SELECT max(no) FROM record) - ? ORDER BY no", maxCheck)
	if err != nil {
		return err
	}
	defer rows.Close()
	var prevNo, no uint64
	var prev string
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&no, &body); err != nil {
			return err
		}
		if err := follows(body, no, prevNo, prev); err != nil {
			return err
		}
		prevNo, prev = no, hash(body)
	}
	return rows.Err()
}

func follows(body []byte, no, prevNo uint64, prev string) error {
	var r struct{ Prev string }
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("%w: record %d: %w", errUnfit, no, err)
	}
	if prevNo != 0 && no != prevNo+1 || prev != "" && r.Prev != prev && r.Prev != firstPrev {
		return fmt.Errorf("%w: record %d does not follow record %d", errUnfit, no, prevNo)
	}
	return nil
}
