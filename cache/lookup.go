package cache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
)

const lookupSQL = "SELECT f.rev, e.account, e.more FROM inforce f LEFT JOIN entry e ON e.gen = f.gen AND e.uid = ?"

// lookup is the one statement that every tap waits for, on a connection of its
// own. It goes to the driver directly: the pool would take as long as SQLite.
type lookup struct {
	mu   sync.Mutex
	conn driver.Conn
	stmt statement
}

// statement is a prepared one as go-sqlite3 makes it.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
}

func (l *lookup) prepare(path string) (err error) {
	c, err := newConnector(path, listSchema.pageSize)
	if err != nil {
		return err
	}
	if l.conn, err = c.Driver().Open(c.dsn); err != nil {
		return err
	}
	stmt, err := l.conn.Prepare(lookupSQL)
	if err != nil {
		return err
	}
	l.stmt = stmt.(statement)
	return nil
}

// find returns the revision of the list in force and the badge's row in it, nil
// if it has none; io.EOF if no list is in force.
func (l *lookup) find(uid []byte) (rev int64, r *row, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stmt == nil {
		return 0, nil, errors.New("list is closed")
	}
	rows, err := l.stmt.QueryContext(context.Background(), []driver.NamedValue{{Ordinal: 1, Value: uid}})
	if err != nil {
		return 0, nil, err
	}
	var dest [3]driver.Value
	if err := errors.Join(rows.Next(dest[:]), rows.Close()); err != nil {
		return 0, nil, err
	}
	rev, ok := dest[0].(int64)
	if !ok {
		return 0, nil, fmt.Errorf("revision is a %T", dest[0])
	}
	account, found := dest[1].(string)
	if !found {
		return rev, nil, nil
	}
	more, _ := dest[2].(string)
	return rev, &row{uid: uid, account: account, more: more}, nil
}

func (l *lookup) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	if l.stmt != nil {
		errs = append(errs, l.stmt.Close())
	}
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	l.stmt, l.conn = nil, nil
	return errors.Join(errs...)
}
