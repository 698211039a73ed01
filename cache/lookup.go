package cache

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"badged/session"
)

// lookupSQL answers with one row while a list is in force: its revision, and the
// badge's entry as one text or NULL. With the entry in a subquery it costs as much
// as a statement on the entries alone; a join costs twice as much. The rest of an
// entry is JSON, which has no zero byte in it; an account may have one.
const lookupSQL = "SELECT rev, (SELECT more || char(0) || account FROM entry WHERE gen = f.gen AND uid = ?) FROM inforce f"

// lookup is the one statement that every tap waits for, on a connection of its
// own. It goes to the driver directly: the pool would take as long as SQLite.
type lookup struct {
	mu    sync.Mutex
	pool  *sql.DB // for what is asked rarely
	conn  driver.Conn
	stmt  statement
	known *revision
}

// revision is a version in force with the number that changes with it, so that
// a lookup reads one number instead of the whole version.
type revision struct {
	rev     int64
	version session.ListVersion
}

// statement is a prepared one as go-sqlite3 makes it.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
}

// open begins to answer from a file.
func (l *lookup) open(c connector) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	conn, err := c.Connect(context.Background())
	if err != nil {
		return err
	}
	stmt, err := conn.Prepare(lookupSQL)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	l.conn, l.stmt, l.known = conn, stmt.(statement), nil
	l.pool = sql.OpenDB(c)
	l.pool.SetMaxOpenConns(1)
	return nil
}

// badge returns the row of a badge, nil if it has none, and the version in force,
// both of one moment. It is io.EOF if no list is in force.
func (l *lookup) badge(ctx context.Context, uid []byte) (*row, session.ListVersion, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		rev, r, err := l.find(uid)
		if err != nil {
			return nil, session.ListVersion{}, err
		}
		if l.known != nil && l.known.rev == rev {
			return r, l.known.version, nil
		}
		if err := l.learn(ctx); err != nil {
			return nil, session.ListVersion{}, err
		}
	}
}

func (l *lookup) find(uid []byte) (rev int64, r *row, err error) {
	if l.stmt == nil {
		return 0, nil, errors.New("list is closed")
	}
	rows, err := l.stmt.QueryContext(context.Background(), []driver.NamedValue{{Ordinal: 1, Value: uid}})
	if err != nil {
		return 0, nil, err
	}
	var dest [2]driver.Value
	err = rows.Next(dest[:])
	if closed := rows.Close(); err != nil || closed != nil {
		return 0, nil, errors.Join(err, closed)
	}
	rev, ok := dest[0].(int64)
	if !ok {
		return 0, nil, fmt.Errorf("%w: revision is a %T", errUnfit, dest[0])
	}
	text, found := dest[1].(string)
	if !found {
		return rev, nil, nil
	}
	more, account, ok := strings.Cut(text, "\x00")
	if !ok {
		return 0, nil, fmt.Errorf("%w: an entry is %d bytes of no known form", errUnfit, len(text))
	}
	return rev, &row{uid: uid, account: account, more: more}, nil
}

// learn reads the version in force for the lookups to come.
func (l *lookup) learn(ctx context.Context) error {
	var r revision
	err := l.pool.QueryRowContext(ctx, "SELECT rev, list, epoch, version, digest, count, issued FROM inforce").
		Scan(append([]any{&r.rev}, versionColumns(&r.version)...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return io.EOF
	}
	if err == nil {
		l.known = &r
	}
	return err
}

func (l *lookup) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil
	}
	err := errors.Join(l.stmt.Close(), l.conn.Close(), l.pool.Close())
	l.conn, l.stmt, l.known = nil, nil, nil // the pool stays, and says that it is closed
	return err
}
