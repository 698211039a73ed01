package cache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"badged/session"
)

// listSchema keeps entries of several generations in one tree, so that the
// switch from one to the next changes one row of inforce. The staged snapshot
// is the generation that staging names; those of old are what Tidy removes. ran
// is Ran, in seconds.
var listSchema = schema{application: 0x62646c73, pageSize: 4096, tables: `
CREATE TABLE entry (gen INTEGER, uid BLOB, account TEXT, more TEXT, PRIMARY KEY (gen, uid)) WITHOUT ROWID;
CREATE TABLE inforce (one INTEGER PRIMARY KEY CHECK (one = 1), gen INTEGER NOT NULL, rev INTEGER NOT NULL,
	list TEXT, epoch INTEGER, version INTEGER, digest BLOB, count INTEGER, issued INTEGER, ran INTEGER NOT NULL DEFAULT 0);
CREATE TABLE staging (one INTEGER PRIMARY KEY CHECK (one = 1), gen INTEGER NOT NULL,
	list TEXT, epoch INTEGER, version INTEGER, digest BLOB);
CREATE TABLE chunk (n INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
CREATE TABLE old (gen INTEGER PRIMARY KEY);`, steps: []string{
	"ALTER TABLE inforce ADD COLUMN ran INTEGER NOT NULL DEFAULT 0",
}}

var _ session.List = (*List)(nil)

// List is the list of badges in force and the snapshot that is on its way.
// Lookups have a connection of their own and do not wait for a load.
type List struct {
	path      string
	lock      *os.File
	recovered recovery
	at        func(point string) // failpoint of the crash tests, nil otherwise

	swap   sync.RWMutex // held by all but lookups while they use the file; by Rebuild to replace it
	write  *sql.DB
	lookup lookup
	broken broken
}

// OpenList opens the list at path or makes an empty one. A file that is damaged
// or foreign is put aside and an empty list begun: see Recovered. One of an earlier
// version of this program is brought up to date. It is an error if the folder
// cannot be written or another process has the list.
func OpenList(path string) (*List, error) {
	lock, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("open list: %w", err)
	}
	l := &List{path: path, lock: lock}
	if err := l.open(); err != nil {
		l.Close()
		return nil, fmt.Errorf("open list %s: %w", path, err)
	}
	return l, nil
}

func (l *List) open() (err error) {
	l.write, l.recovered, err = openOrRecover(l.path, listSchema, nil)
	if err != nil {
		return err
	}
	return l.answer()
}

// answer opens what lookups and other readers use.
func (l *List) answer() error {
	c, err := newConnector(l.path, listSchema.pageSize)
	if err != nil {
		return err
	}
	return l.lookup.open(c)
}

// Recovered says in words which file was put aside by OpenList and why, "" if
// none was.
func (l *List) Recovered() string { return l.recovered.word }

// Close ends all use of the list.
func (l *List) Close() error {
	l.swap.Lock()
	defer l.swap.Unlock()
	errs := []error{l.broken.rest.close(), l.lookup.close()}
	if l.write != nil {
		errs = append(errs, l.write.Close())
	}
	return errors.Join(append(errs, l.lock.Close())...)
}

// Lookup finds a badge in the list in force and names the version that
// answered; both are of one moment. It is not cut short by ctx once it runs: it
// takes microseconds. While the file is damaged, or a file put aside by Rebuild
// answers because there is no other list yet, a badge that is found counts, and
// one that is not is ErrDamaged: it may have stood where the damage is.
func (l *List) Lookup(ctx context.Context, t session.IDToken) (session.Listing, error) {
	if err := ctx.Err(); err != nil {
		return session.Listing{}, err
	}
	uid, _ := uidBytes(t) // nil, for what is no UID, is on no list
	r, v, err := l.lookup.badge(ctx, uid)
	if errors.Is(err, io.EOF) {
		r, v, err = l.broken.badge(ctx, uid)
	}
	out := session.Listing{List: v}
	if err == nil && r != nil {
		out.Found = true
		out.Entry, err = r.entry(t)
	} else if err == nil && v != (session.ListVersion{}) {
		err = l.broken.miss()
	}
	if err != nil {
		return session.Listing{}, fmt.Errorf("look up badge: %w", l.mind(err))
	}
	return out, nil
}

// InForce is the version in force; the zero ListVersion while there is none.
func (l *List) InForce(ctx context.Context) (session.ListVersion, error) {
	l.swap.RLock()
	defer l.swap.RUnlock()
	v, _, err := inForce(ctx, l.lookup.pool)
	if err != nil {
		return session.ListVersion{}, fmt.Errorf("read list version: %w", l.mind(err))
	}
	return v, nil
}

// Refresh takes over the later issuedAt of to, whose epoch, version and digest
// must be those in force. An issuedAt that is not later changes nothing.
func (l *List) Refresh(ctx context.Context, to session.ListVersion) error {
	return l.change("refresh list", func(tx *sql.Tx) error {
		v, gen, err := inForce(ctx, tx)
		if err != nil {
			return err
		}
		if !same(v, to) {
			return fmt.Errorf("%s is not in force, %s is", name(to), name(v))
		}
		if to.IssuedAt.UnixMilli() <= v.IssuedAt.UnixMilli() {
			return nil
		}
		v.IssuedAt = to.IssuedAt
		return setInForce(tx, v, gen)
	})
}

// Ran is for how long a gateway without a clock has run since the head in force
// was issued, as SetRan noted it.
func (l *List) Ran(ctx context.Context) (time.Duration, error) {
	l.swap.RLock()
	defer l.swap.RUnlock()
	var seconds int64
	err := l.lookup.pool.QueryRowContext(ctx, "SELECT coalesce(max(ran), 0) FROM inforce").Scan(&seconds)
	if err != nil {
		return 0, fmt.Errorf("read age of list: %w", l.mind(err))
	}
	return time.Duration(seconds) * time.Second, nil
}

// SetRan notes Ran, in whole seconds. Another version, or the same issued again,
// begins at 0.
func (l *List) SetRan(_ context.Context, d time.Duration) error {
	return l.change("note age of list", func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE inforce SET ran = ?", int64(d/time.Second))
		return err
	})
}

// Check reads the whole list and returns an error if it is damaged: seconds for
// a million badges, so it is for the background. Lookups go on meanwhile.
func (l *List) Check(ctx context.Context) error {
	err := checkFile(ctx, l.path, listSchema)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.mind(err)
}

// change runs f in one transaction of the writer.
func (l *List) change(what string, f func(*sql.Tx) error) error {
	l.swap.RLock()
	defer l.swap.RUnlock()
	err := inTx(l.write, func(tx *sql.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		l.reach("written")
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, l.mind(err))
	}
	l.reach("committed")
	return nil
}

func (l *List) reach(point string) {
	if l.at != nil {
		l.at(point)
	}
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func inForce(ctx context.Context, q queryer) (v session.ListVersion, gen int64, err error) {
	row := q.QueryRowContext(ctx, "SELECT list, epoch, version, digest, count, issued, gen FROM inforce")
	err = row.Scan(append(versionColumns(&v), &gen)...)
	if errors.Is(err, sql.ErrNoRows) {
		return session.ListVersion{}, 0, nil
	}
	return v, gen, err
}

func setInForce(tx *sql.Tx, v session.ListVersion, gen int64) error {
	if err := storable(v); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT OR REPLACE INTO inforce VALUES (1, ?, 1 + coalesce((SELECT rev FROM inforce), 0), ?, ?, ?, ?, ?, ?, 0)`,
		gen, v.List, int64(v.Epoch), int64(v.Version), v.Digest[:], v.Count, v.IssuedAt.UnixMilli())
	return err
}

// versionColumns receive list, epoch, version, digest, count and issued.
func versionColumns(v *session.ListVersion) []any {
	return []any{&v.List, &v.Epoch, &v.Version, (*digestColumn)(&v.Digest), &v.Count, (*milliColumn)(&v.IssuedAt)}
}

type digestColumn session.Digest

func (d *digestColumn) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(d) {
		return errors.New("digest of the wrong length")
	}
	copy(d[:], b)
	return nil
}

type milliColumn time.Time

func (t *milliColumn) Scan(src any) error {
	ms, ok := src.(int64)
	if !ok {
		return errors.New("time is no number")
	}
	*t = milliColumn(time.UnixMilli(ms).UTC())
	return nil
}

// storable refuses numbers beyond SQLite's.
func storable(v session.ListVersion) error {
	if v.Epoch > math.MaxInt64 || v.Version > math.MaxInt64 {
		return fmt.Errorf("%s: beyond 2^63", name(v))
	}
	return nil
}

// same says whether two versions are one list; count and issuedAt aside.
func same(v, w session.ListVersion) bool {
	return v.List == w.List && v.Compare(w) == 0 && v.Digest == w.Digest
}

func name(v session.ListVersion) string {
	if v == (session.ListVersion{}) {
		return "no list"
	}
	return fmt.Sprintf("list %s epoch %d version %d", v.List, v.Epoch, v.Version)
}
