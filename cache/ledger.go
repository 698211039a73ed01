package cache

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"

	"badged/session"
)

// ledgerSchema numbers the records of all ledgers that this file has held in
// one row id: no = ledger.base + seq. Record bodies are the RFC 8785 form; a
// record's hash is not stored, it is the SHA-256 of its body. A head's digest and
// count are NULL where only its number is known.
var ledgerSchema = schema{application: 0x62646c67, pageSize: 2048, tables: `
CREATE TABLE ledger (base INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, why TEXT NOT NULL, opened TEXT NOT NULL, gateway TEXT NOT NULL DEFAULT '');
CREATE TABLE record (no INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE state (station TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE telemetry (no INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE anchor (no INTEGER PRIMARY KEY, boot TEXT NOT NULL, up INTEGER NOT NULL, wall INTEGER NOT NULL);
CREATE TABLE head (list TEXT PRIMARY KEY, epoch INTEGER, version INTEGER, digest BLOB, count INTEGER) WITHOUT ROWID;
CREATE TABLE spent (no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE keyset (list TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;`,
	steps: []string{
		"CREATE TABLE IF NOT EXISTS keyset (list TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID",
		`ALTER TABLE ledger ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
		UPDATE ledger SET gateway = coalesce((SELECT body ->> '$.gateway' FROM record WHERE no = base + 1), '')`,
		"ALTER TABLE head ADD COLUMN digest BLOB; ALTER TABLE head ADD COLUMN count INTEGER",
	}}

// LedgerOpts are the terms of a ledger. Gateway and Stamp must be set.
type LedgerOpts struct {
	// Gateway is named in LedgerOpened.
	Gateway string
	// Stamp is the time now, for LedgerOpened.
	Stamp func() session.Stamp
	// BrokerAck takes a broker's word for the backend's: what is taken is
	// committed. For sites whose backend cannot acknowledge.
	BrokerAck bool
	// MaxBytes is the size of the file from which on new sessions are refused;
	// 0 is 1 GiB.
	MaxBytes int64
	// Reserve is the room kept on the disk so that running sessions end on a
	// full one; 0 is 4 MiB.
	Reserve int64
	// Telemetry is how many entries the ring holds; 0 is 10,000.
	Telemetry int
}

func (o LedgerOpts) withDefaults() LedgerOpts {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Reserve == 0 {
		o.Reserve = 4 << 20
	}
	if o.Telemetry == 0 {
		o.Telemetry = 10_000
	}
	return o
}

var _ session.Journal = (*Ledger)(nil)

// Ledger is the billing ledger with everything that must not be lost: records,
// the states of the stations, how far the outbox has come, ratchets. Commits
// are made one after the other; each is one flush of the disk.
type Ledger struct {
	path    string
	opts    LedgerOpts
	lock    *os.File
	reserve reserve
	changed chan struct{}
	at      func(point string) // failpoint of the crash tests, nil otherwise

	swap      sync.RWMutex // locked while another file takes the place of db's
	db        *sql.DB
	recovered recovery

	mu     sync.Mutex // of what is below, and over each change of the file; before swap
	id     string
	base   uint64
	states map[string][]byte // as the last Commit left them
}

// OpenLedger opens the ledger at path or begins one. A file that is damaged or
// foreign, or whose records do not hash as they should, is put aside and a new
// ledger begun: see Recovered. It is an error if the folder cannot be written
// or another process has the ledger.
func OpenLedger(path string, o LedgerOpts) (*Ledger, error) {
	lock, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	o = o.withDefaults()
	l := &Ledger{path: path, opts: o, lock: lock, changed: make(chan struct{}, 1), reserve: reserve{path + ".reserve", o.Reserve}}
	if err := l.open(); err != nil {
		l.Close()
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	l.wake()
	return l, nil
}

func (l *Ledger) open() error {
	l.reserve.ensure() // no reserve, no new session: Commit says so
	err := l.openOrReplace()
	if err != nil && l.reserve.release() {
		// A full disk has no room for a new log. SQLite calls it a file that cannot be
		// opened, so any failure is tried again with the room of the reserve.
		err = l.openOrReplace()
	}
	if err != nil {
		return err
	}
	err = l.change("begin ledger", func(tx *sql.Tx) error {
		var base sql.Null[uint64]
		if err := tx.QueryRow("SELECT max(base) FROM ledger").Scan(&base); err != nil {
			return err
		}
		if !base.Valid {
			return l.begin(tx, "new")
		}
		l.base = base.V
		var gateway string
		err := tx.QueryRow("SELECT id, gateway FROM ledger WHERE base = ?", base.V).Scan(&l.id, &gateway)
		if err != nil || gateway == "" || gateway == l.opts.Gateway {
			return err
		}
		return l.renew(tx, "renamed") // its numbers are that gateway's, and its backend knows them
	})
	if err != nil {
		return err
	}
	l.states, err = l.States(context.Background())
	return err
}

// begin opens a new ledger after whatever the file holds: with a new random id
// and LedgerOpened as its first record.
func (l *Ledger) begin(tx *sql.Tx, why string) error {
	end, _, err := lastRecord(tx)
	if err != nil {
		return err
	}
	before := l.id
	l.id, l.base = strings.ToLower(rand.Text()), end
	at := l.opts.Stamp()
	opened, err := at.MarshalJSON()
	if err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO ledger VALUES (?, ?, ?, ?, ?)", l.base, l.id, why, string(opened), l.opts.Gateway); err != nil {
		return err
	}
	for name, at := range map[string]uint64{markTaken: l.base, markCommitted: l.base, markReplay: 0, markReplayEnd: 0} {
		if err := setMark(tx, name, at); err != nil {
			return err
		}
	}
	return l.append(tx, []session.Record{session.LedgerOpened{Gateway: l.opts.Gateway, Before: before, Why: why, At: at}})
}

// Recovered says in words which file was put aside last, at the start or since, and
// why; "" if none was.
func (l *Ledger) Recovered() string {
	l.swap.RLock()
	defer l.swap.RUnlock()
	return l.recovered.word
}

// Check reads the whole file. One that is damaged is replaced there and then, which
// Recovered tells; an error says that it could not be read or replaced. It is for
// the background; commits go on meanwhile.
func (l *Ledger) Check(ctx context.Context) error {
	err := checkFile(ctx, l.path, ledgerSchema)
	if err == nil {
		err = l.read(lastFollow)
	}
	if !errors.Is(unfit(err), errUnfit) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mend(err)
}

// Changed is sent to after commits that added records or telemetry, and once
// at the start. One receiver.
func (l *Ledger) Changed() <-chan struct{} { return l.changed }

func (l *Ledger) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Close ends all use of the ledger.
func (l *Ledger) Close() error {
	var err error
	if l.db != nil {
		err = l.db.Close()
		l.reserve.ensure() // the log has gone: its room is for the next start
	}
	return errors.Join(err, l.lock.Close())
}

// Commit makes states, records and telemetry durable, all or nothing, in one
// flush. It is session.ErrFull where there is no room left for a new session
// (a Started record), or for telemetry alone; anything else may use up the
// reserve. ctx is not looked at: an end must not be lost because somebody is in a
// hurry.
func (l *Ledger) Commit(_ context.Context, c session.Commit) error {
	starting := starts(c.Records)
	if starting {
		if err := l.room(); err != nil {
			return err
		}
	}
	change := l.change
	if starting || len(c.Records)+len(c.States) == 0 {
		change = l.changeInRoom
	}
	err := change("commit", func(tx *sql.Tx) error { return l.put(tx, c) })
	if full(err) {
		return fmt.Errorf("%w: %w", session.ErrFull, err)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	maps.Copy(l.states, c.States)
	l.mu.Unlock()
	if len(c.Records)+len(c.Telemetry) > 0 {
		l.wake()
	}
	return nil
}

func (l *Ledger) put(tx *sql.Tx, c session.Commit) error {
	for station, state := range c.States {
		if _, err := tx.Exec("INSERT OR REPLACE INTO state VALUES (?, ?)", station, state); err != nil {
			return err
		}
	}
	if err := l.append(tx, c.Records); err != nil {
		return err
	}
	return l.ring(tx, c.Telemetry)
}

// States returns the states as the last Commit left them.
func (l *Ledger) States(context.Context) (states map[string][]byte, err error) {
	err = l.read(func(db *sql.DB) error {
		states = map[string][]byte{}
		rows, err := db.Query("SELECT station, body FROM state")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var station string
			var body []byte
			if err := rows.Scan(&station, &body); err != nil {
				return err
			}
			states[station] = body
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read states: %w", err)
	}
	return states, nil
}

// change runs f in one transaction, one at a time, on a full disk with the room of
// the reserve: an end, and the acknowledgement that lets records go, must not wait.
func (l *Ledger) change(what string, f func(*sql.Tx) error) error {
	err := l.changeInRoom(what, f)
	if full(err) && l.reserve.release() {
		err = l.changeInRoom(what, f)
	}
	return err
}

// changeInRoom is change without the reserve. A file that turns out to be damaged
// is replaced, and f runs on the new one. An id and base that f has changed hold
// only if it commits.
func (l *Ledger) changeInRoom(what string, f func(*sql.Tx) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.once(f)
	if errors.Is(unfit(err), errUnfit) {
		if err = l.mend(err); err == nil {
			err = l.once(f)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (l *Ledger) once(f func(*sql.Tx) error) error {
	id, base := l.id, l.base
	err := inTx(l.db, func(tx *sql.Tx) error {
		l.reach("begun")
		if err := f(tx); err != nil {
			return err
		}
		l.reach("written")
		return nil
	})
	if err != nil {
		l.id, l.base = id, base
		return err
	}
	l.reach("committed")
	return nil
}

func (l *Ledger) reach(point string) {
	if l.at != nil {
		l.at(point)
	}
}
