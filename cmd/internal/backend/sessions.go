package backend

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"badged/session"
)

// sessionColumns is the header of WriteCSV. Times are of the wall clock, as well as
// it is known by now; clock is the worse of the two ends: synced, estimated or
// unknown. energyWh is what the session used, meterStart and meterEnd are registers
// in Wh. review names what a person should look at, separated by ";"; state is open
// as long as no end was received.
var sessionColumns = []string{"gateway", "transactionId", "station", "kind", "account", "uid", "startUtc", "startLocal", "endUtc", "endLocal",
	"seconds", "energyWh", "meterStart", "meterEnd", "stoppedReason", "clock", "review", "state"}

// WriteCSV writes one row for each session of all gateways in the folder, each
// session once however often its records came, ordered by gateway and start. It
// only reads, also beside a running Receiver. Records that cannot be read are an
// error after everything else was written.
func WriteCSV(w io.Writer, dir string, local *time.Location) error {
	_, b, err := writeStored(w, dir, local)
	if err != nil {
		return err
	}
	return errors.Join(b.odd...)
}

// FollowCSV writes what WriteCSV does, nothing but the header without a folder.
// The function it returns takes records as they come, each after it was stored, and
// writes the row of a session once its end is there, and again where a later record
// marks it for review.
func FollowCSV(w io.Writer, dir string, local *time.Location) (func(Record) error, error) {
	out, b, err := writeStored(w, dir, local)
	if err != nil {
		return nil, err
	}
	return func(r Record) error {
		s := b.add(r)
		if s == nil || s.last.EventType != session.Ended {
			return nil
		}
		s.resolve(b.anchors)
		err := out.Write(s.row(local))
		out.Flush()
		return errors.Join(err, out.Error())
	}, nil
}

func writeStored(w io.Writer, dir string, local *time.Location) (*csv.Writer, *books, error) {
	b := newBooks()
	if dir != "" {
		if err := readRecords(dir, func(r Record) error { b.add(r); return nil }); err != nil {
			return nil, nil, err
		}
	}
	out := csv.NewWriter(w)
	err := out.Write(sessionColumns)
	for _, s := range b.sorted() {
		err = errors.Join(err, out.Write(s.row(local)))
	}
	out.Flush()
	if err = errors.Join(err, out.Error()); err != nil {
		return nil, nil, fmt.Errorf("write sessions: %w", err)
	}
	return out, b, nil
}

// readRecords gives every record in the folder, in the order it came.
func readRecords(dir string, each func(Record) error) error {
	paths, err := fs.Glob(os.DirFS(dir), "*/*.jsonl")
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for _, path := range paths {
		if err := readFile(dir, path, each); err != nil {
			return fmt.Errorf("read records: %s: %w", path, err)
		}
	}
	return nil
}

func readFile(dir, path string, each func(Record) error) error {
	f, err := os.DirFS(dir).Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil // a line without its end is still being written
		}
		if err != nil {
			return err
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if err := each(r); err != nil {
			return err
		}
	}
}
