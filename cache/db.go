package cache

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

// Settings of every connection. A small page cache is enough: a lookup reads
// four pages. The log is folded into the file every 200 pages, so that it stays
// below 1 MiB and a start after a power cut has little to recover.
const settings = "?_synchronous=FULL&_busy_timeout=5000&_txlock=immediate&_cache_size=-2000&_stmt_cache_size=32"

const setup = `PRAGMA page_size = %d; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 200; PRAGMA journal_size_limit = 1048576; PRAGMA temp_store = MEMORY`

// errUnfit marks a file that cannot serve as this database: damaged, or made
// by another program or a later version of this one.
var errUnfit = errors.New("not a database of this program")

// schema is what a file must be. The application id tells our files from
// others (https://sqlite.org/pragma.html#pragma_application_id). The version is
// one more than there are steps: each leads from one version to the next, and
// never changes once a file may have taken it.
type schema struct {
	application int32
	pageSize    int
	tables      string   // of a new file
	steps       []string // for the files of earlier versions, from version 1 on
}

func (s schema) version() int { return len(s.steps) + 1 }

// connector opens connections of one file, all with the same settings.
type connector struct {
	dsn      string
	pageSize int // of a new file
	readOnly bool
}

func (c connector) Driver() driver.Driver {
	return &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		if c.readOnly {
			return nil
		}
		_, err := conn.Exec(fmt.Sprintf(setup, c.pageSize), nil)
		return err
	}}
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.Driver().Open(c.dsn) }

func newConnector(path string, pageSize int) (connector, error) {
	abs, err := filepath.Abs(path)
	u := url.URL{Scheme: "file", Path: abs}
	return connector{dsn: u.String() + settings, pageSize: pageSize}, err
}

// reading makes of c what only reads, and leaves the file as it is.
func (c connector) reading() connector {
	c.readOnly, c.dsn = true, c.dsn+"&mode=ro&_query_only=true"
	return c
}

// openDB returns a pool of one connection to the file at path.
func openDB(path string, pageSize int) (*sql.DB, error) {
	c, err := newConnector(path, pageSize)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	return db, nil
}

// openFile opens or creates a database of this schema. Its error is errUnfit
// where the file itself is at fault and may be put aside.
func openFile(path string, s schema) (*sql.DB, error) {
	if err := s.foreign(path); err != nil {
		return nil, err
	}
	db, err := openDB(path, s.pageSize)
	if err != nil {
		return nil, err
	}
	if err := prepare(db, s); err != nil {
		db.Close()
		return nil, unfit(err)
	}
	return db, nil
}

// foreign looks at a file before SQLite does, which would turn another program's
// database to WAL mode. With a log beside it the header may be out of date; then
// prepare looks again. Offsets: https://sqlite.org/fileformat2.html, 1.3.
func (s schema) foreign(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	switch n, err := io.ReadFull(f, header); {
	case n == 0 && err == io.EOF:
		return nil
	case !bytes.HasPrefix(header, []byte("SQLite format 3\x00")):
		return fmt.Errorf("%w: no SQLite database", errUnfit)
	}
	if st, err := os.Stat(path + "-wal"); err == nil && st.Size() > 0 {
		return nil
	}
	cookie, application := binary.BigEndian.Uint32(header[40:]), binary.BigEndian.Uint32(header[68:])
	if application != uint32(s.application) && (application != 0 || cookie != 0) {
		return fmt.Errorf("%w: application id %d, want %d", errUnfit, application, s.application)
	}
	return nil
}

// recovery tells of a file that was put aside: its new name, "" if none was,
// and a word about it.
type recovery struct{ aside, word string }

// openOrRecover is openFile, but puts a file that is unfit aside, begins a new
// one and says so. check, if any, looks at a file that is there.
func openOrRecover(path string, s schema, check func(*sql.DB, int64) error) (*sql.DB, recovery, error) {
	db, err := openChecked(path, s, check)
	if !errors.Is(err, errUnfit) {
		return db, recovery{}, err
	}
	aside, moveErr := quarantine(path)
	if moveErr != nil {
		return nil, recovery{}, errors.Join(err, moveErr)
	}
	word := fmt.Sprintf("%s was unusable (%v): kept as %s, begun anew", path, err, aside)
	db, err = openFile(path, s)
	return db, recovery{aside, word}, err
}

func openChecked(path string, s schema, check func(*sql.DB, int64) error) (*sql.DB, error) {
	db, err := openFile(path, s)
	if err != nil || check == nil {
		return db, err
	}
	st, err := os.Stat(path)
	if err == nil {
		err = check(db, st.Size())
	}
	if err != nil {
		db.Close()
		return nil, unfit(err)
	}
	return db, nil
}

func prepare(db *sql.DB, s schema) error {
	if err := assertDurable(db); err != nil {
		return err
	}
	var application int32
	var version, objects int
	row := db.QueryRow(`SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`)
	if err := row.Scan(&application, &version, &objects); err != nil {
		return err
	}
	switch {
	case objects == 0:
		return create(db, s)
	case application != s.application:
		return fmt.Errorf("%w: application id %d, want %d", errUnfit, application, s.application)
	case version < 1 || version > s.version():
		return fmt.Errorf("%w: schema version %d, want at most %d", errUnfit, version, s.version())
	}
	return migrate(db, s, version)
}

// migrate makes a file of an earlier version one of this, all or nothing.
func migrate(db *sql.DB, s schema, version int) error {
	if version == s.version() {
		return nil
	}
	err := inTx(db, func(tx *sql.Tx) error {
		for _, step := range s.steps[version-1:] {
			if _, err := tx.Exec(step); err != nil {
				return err
			}
		}
		_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", s.version()))
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate from schema version %d to %d: %w", version, s.version(), err)
	}
	return nil
}

func create(db *sql.DB, s schema) error {
	return inTx(db, func(tx *sql.Tx) error {
		_, err := tx.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; %s", s.application, s.version(), s.tables))
		return err
	})
}

// assertDurable reads back what decides whether a commit survives a power cut.
// The driver's own default is synchronous=NORMAL.
func assertDurable(db *sql.DB) error {
	var journal string
	var synchronous int
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := db.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if journal != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode=%s synchronous=%d, want wal and 2 (FULL): the file system cannot keep a write-ahead log", journal, synchronous)
	}
	return nil
}

// inTx runs f in a transaction that is committed if f returns nil. It cannot be
// cancelled: a change that was begun is either made or refused by the disk.
func inTx(db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// quickCheck reads the whole file and says what is wrong with it.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s", errUnfit, result)
	}
	return nil
}

// checkFile is quickCheck on a connection of its own.
func checkFile(ctx context.Context, path string, s schema) error {
	db, err := openDB(path, s.pageSize)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := quickCheck(ctx, db); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

// unfit tells a file at fault from a disk, a right or a lock at fault.
func unfit(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB) {
		return fmt.Errorf("%w: %w", errUnfit, err)
	}
	return err
}

// full says whether the disk or the file's limit had no more room.
func full(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrFull
}

// quarantine puts the file at path aside with its log, under a name that is
// free, and returns that name. Without its log a database loses commits, so
// the two keep matching names.
func quarantine(path string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.damaged-%d", path, n)
		if _, err := os.Lstat(aside); !errors.Is(err, os.ErrNotExist) {
			if n < 1000 {
				continue
			}
			return "", fmt.Errorf("put %s aside: 1000 damaged files are there already, remove some", path)
		}
		return aside, moveDB(path, aside)
	}
}

// moveDB renames a database that nobody has open. The log goes after the file:
// a power cut in between leaves a log without its file, which SQLite discards,
// never a file without its log, which would be an older ledger that looks whole.
func moveDB(from, to string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(from+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
