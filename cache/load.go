package cache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"badged/session"
)

const (
	maxChunk  = 10_000 // entries in a chunk: one commit
	tidySlice = 5_000  // entries that one Tidy removes
	// entryBytes is what an entry takes on disk while it is loaded, with the log
	// and half-empty pages.
	entryBytes = 100
)

// ApplyDeltas makes to the version in force by applying deltas in order, in one
// transaction. from must be in force, and the entries must come out as
// to.Count; otherwise nothing changes and the error says what differs.
func (l *List) ApplyDeltas(ctx context.Context, from, to session.ListVersion, deltas []session.Delta) error {
	return l.change("apply deltas", func(tx *sql.Tx) error {
		v, gen, err := inForce(ctx, tx)
		if err != nil {
			return err
		}
		if !same(v, from) || v == (session.ListVersion{}) {
			return fmt.Errorf("they lead from %s, but %s is in force", name(from), name(v))
		}
		count := v.Count
		for _, d := range deltas {
			n, err := apply(ctx, tx, gen, d)
			if err != nil {
				return err
			}
			count += n
		}
		if count != to.Count {
			return fmt.Errorf("%s has %d entries, want %d", name(to), count, to.Count)
		}
		return setInForce(tx, to, gen)
	})
}

// apply returns by how many entries the list has grown.
func apply(ctx context.Context, tx *sql.Tx, gen int64, d session.Delta) (int, error) {
	grown := 0
	for _, t := range d.Remove {
		uid, ok := uidBytes(t)
		if !ok {
			return 0, fmt.Errorf("remove %q: not a UID", t.Masked())
		}
		n, err := remove(tx, gen, uid)
		if err != nil {
			return 0, err
		}
		grown -= n
	}
	rs, err := rows(d.Put)
	if err != nil {
		return 0, err
	}
	for _, r := range rs {
		n, err := remove(tx, gen, r.uid)
		if err != nil {
			return 0, err
		}
		grown += 1 - n
	}
	return grown, insert(ctx, tx, gen, rs)
}

func remove(tx *sql.Tx, gen int64, uid []byte) (int, error) {
	res, err := tx.Exec("DELETE FROM entry WHERE gen = ? AND uid = ?", gen, uid)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func insert(ctx context.Context, tx *sql.Tx, gen int64, rs []row) error {
	stmt, err := tx.Prepare("INSERT INTO entry VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, r := range rs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := stmt.Exec(gen, r.uid, r.account, r.more); err != nil {
			return fmt.Errorf("entry %s: %w", session.IDToken(fmt.Sprintf("%X", r.uid)).Masked(), err)
		}
	}
	return nil
}

// Stage keeps one chunk of the snapshot of version to, at most 10,000 entries,
// in one commit; a chunk that is there already is left as it is. Staging
// another version drops what was staged before. A badge that is in two chunks
// is an error.
func (l *List) Stage(ctx context.Context, to session.ListVersion, chunk int, entries []session.Entry) error {
	if len(entries) > maxChunk || chunk < 0 {
		return fmt.Errorf("stage chunk %d: %d entries, want at most %d", chunk, len(entries), maxChunk)
	}
	rs, err := rows(entries)
	if err != nil {
		return fmt.Errorf("stage chunk %d: %w", chunk, err)
	}
	return l.change(fmt.Sprintf("stage chunk %d", chunk), func(tx *sql.Tx) error {
		gen, err := stagingFor(ctx, tx, to)
		if err == nil {
			err = l.room(tx, to.Count)
		}
		if err != nil {
			return err
		}
		res, err := tx.Exec("INSERT OR IGNORE INTO chunk VALUES (?, ?)", chunk, len(rs))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		return insert(ctx, tx, gen, rs)
	})
}

// stagingFor is the generation into which the snapshot of to loads: a fresh one
// where something else was staged or nothing.
func stagingFor(ctx context.Context, tx *sql.Tx, to session.ListVersion) (int64, error) {
	v, gen, err := staging(ctx, tx)
	if err != nil {
		return 0, err
	}
	if gen != 0 && same(v, to) {
		return gen, nil
	}
	if err := storable(to); err != nil {
		return 0, err
	}
	if err := drop(tx); err != nil {
		return 0, err
	}
	err = tx.QueryRow(`SELECT 1 + max(coalesce((SELECT max(gen) FROM entry), 0),
		coalesce((SELECT max(gen) FROM old), 0), coalesce((SELECT gen FROM inforce), 0))`).Scan(&gen)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec("INSERT OR REPLACE INTO staging VALUES (1, ?, ?, ?, ?, ?)",
		gen, to.List, int64(to.Epoch), int64(to.Version), to.Digest[:])
	return gen, err
}

// drop leaves what is staged to Tidy.
func drop(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO old SELECT gen FROM staging; DELETE FROM staging; DELETE FROM chunk")
	return err
}

func staging(ctx context.Context, q queryer) (v session.ListVersion, gen int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT list, epoch, version, digest, gen FROM staging").
		Scan(&v.List, &v.Epoch, &v.Version, (*digestColumn)(&v.Digest), &gen)
	if errors.Is(err, sql.ErrNoRows) {
		return session.ListVersion{}, 0, nil
	}
	return v, gen, err
}

// room refuses a load that the disk cannot hold, before it begins and while it
// goes on. What is staged already is on the disk already.
func (l *List) room(tx *sql.Tx, entries int) error {
	var staged int
	if err := tx.QueryRow("SELECT coalesce(sum(entries), 0) FROM chunk").Scan(&staged); err != nil {
		return err
	}
	free, err := diskFree(l.path)
	if err != nil {
		return err
	}
	if need := int64(entries-staged) * entryBytes; free < need {
		return fmt.Errorf("%d entries need %d MiB, the disk of %s has %d MiB free: make room", entries-staged, need>>20, l.path, free>>20)
	}
	return nil
}

// diskFree is how many bytes the disk that holds path has left for us.
func diskFree(path string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// Staged lists in ascending order the chunks of to's snapshot that are here.
func (l *List) Staged(ctx context.Context, to session.ListVersion) ([]int, error) {
	l.swap.RLock()
	defer l.swap.RUnlock()
	v, gen, err := staging(ctx, l.lookup.pool)
	if err == nil && (gen == 0 || !same(v, to)) {
		return nil, nil
	}
	var chunks []int
	if err == nil {
		chunks, err = numbers(ctx, l.lookup.pool, "SELECT n FROM chunk ORDER BY n")
	}
	if err != nil {
		return nil, fmt.Errorf("read staged chunks: %w", l.mind(err))
	}
	return chunks, nil
}

// numbers reads a column.
func numbers(ctx context.Context, db *sql.DB, query string) (all []int, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, rows.Err()
}

// Activate makes the staged snapshot of to the list in force, in one small
// transaction, if the chunks 0 to chunks-1 are all here and hold to.Count
// entries. The generation before is left to Tidy.
func (l *List) Activate(ctx context.Context, to session.ListVersion, chunks int) error {
	err := l.change("activate snapshot", func(tx *sql.Tx) error {
		gen, err := staged(ctx, tx, to, chunks)
		if err != nil {
			return err
		}
		var have, beyond, count int
		err = tx.QueryRow("SELECT count(*), count(*) FILTER (WHERE n >= ?), coalesce(sum(entries), 0) FROM chunk", chunks).Scan(&have, &beyond, &count)
		if err != nil {
			return err
		}
		if have != chunks || beyond > 0 || count != to.Count {
			return fmt.Errorf("%s: staged %d chunks (%d beyond the last) with %d entries, want %d with %d", name(to), have, beyond, count, chunks, to.Count)
		}
		if _, err := tx.Exec("INSERT INTO old SELECT gen FROM inforce; DELETE FROM staging; DELETE FROM chunk"); err != nil {
			return err
		}
		return setInForce(tx, to, gen)
	})
	if err == nil {
		l.broken.over()
	}
	return err
}

// staged is the generation that holds the snapshot of to. One without chunks,
// an empty list, was never staged and gets its generation here.
func staged(ctx context.Context, tx *sql.Tx, to session.ListVersion, chunks int) (int64, error) {
	v, gen, err := staging(ctx, tx)
	if err == nil && chunks == 0 {
		return stagingFor(ctx, tx, to)
	}
	if err == nil && !same(v, to) {
		return 0, fmt.Errorf("%s is not staged, %s is", name(to), name(v))
	}
	return gen, err
}

// Discard drops what is staged; Tidy frees its room.
func (l *List) Discard(context.Context) error { return l.change("discard staged list", drop) }

// Tidy removes up to 5,000 entries of generations that are in force no more,
// in one commit, and says whether there are more. The room is used again by
// the next load; the file does not shrink.
func (l *List) Tidy(ctx context.Context) (more bool, err error) {
	if more, err = l.untidy(ctx); err != nil || !more {
		return false, err
	}
	err = l.change("tidy list", func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM entry WHERE gen = (SELECT min(gen) FROM old) AND uid IN
			(SELECT uid FROM entry WHERE gen = (SELECT min(gen) FROM old) ORDER BY uid LIMIT ?)`, tidySlice)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == tidySlice || err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM old WHERE gen = (SELECT min(gen) FROM old)"); err != nil {
			return err
		}
		return tx.QueryRow("SELECT EXISTS (SELECT 1 FROM old)").Scan(&more)
	})
	return more && err == nil, err
}

func (l *List) untidy(ctx context.Context) (old bool, err error) {
	l.swap.RLock()
	defer l.swap.RUnlock()
	err = l.lookup.pool.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM old)").Scan(&old)
	return old, l.mind(err)
}
