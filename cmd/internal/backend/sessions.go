package backend

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
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
// only reads, also beside a running Receiver.
func WriteCSV(w io.Writer, dir string, local *time.Location) error {
	b := books{sessions: make(map[string]*booking), anchors: make(map[string][]session.Stamp)}
	if err := readRecords(dir, b.add); err != nil {
		return err
	}
	rows := make([]*booking, 0, len(b.sessions))
	for _, s := range b.sessions {
		s.resolve(b.anchors)
		rows = append(rows, s)
	}
	slices.SortFunc(rows, func(a, b *booking) int {
		if c := strings.Compare(a.gateway, b.gateway); c != 0 {
			return c
		}
		if c := a.start.Wall.Compare(b.start.Wall); c != 0 {
			return c
		}
		return strings.Compare(a.last.TransactionID, b.last.TransactionID)
	})
	out := csv.NewWriter(w)
	if err := out.Write(sessionColumns); err != nil {
		return fmt.Errorf("write sessions: %w", err)
	}
	for _, s := range rows {
		if err := out.Write(s.row(local)); err != nil {
			return fmt.Errorf("write sessions: %w", err)
		}
	}
	out.Flush()
	return out.Error()
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

// books are the sessions and the clock anchors of all records.
type books struct {
	sessions map[string]*booking        // by gateway and transaction
	anchors  map[string][]session.Stamp // by boot
}

// booking is one session.
type booking struct {
	gateway    string
	first      session.TransactionEvent // Started, or the earliest there is
	last       session.TransactionEvent // Ended, or the latest there is
	start, end session.Stamp            // with the wall clock as it is known by now
	review     []session.Review
}

func (b *books) add(r Record) error {
	var kind struct{ Type string }
	if err := json.Unmarshal(r.Record, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case session.TransactionEvent{}.RecordType():
		var e session.TransactionEvent
		if err := json.Unmarshal(r.Record, &e); err != nil {
			return fmt.Errorf("record %d: %w", r.Seq, err)
		}
		b.book(r.Gateway, e)
	case session.ClockAnchor{}.RecordType():
		var a session.ClockAnchor
		if err := json.Unmarshal(r.Record, &a); err != nil {
			return fmt.Errorf("record %d: %w", r.Seq, err)
		}
		b.anchors[a.At.BootID] = append(b.anchors[a.At.BootID], a.At)
	}
	return nil
}

func (b *books) book(gateway string, e session.TransactionEvent) {
	key := gateway + "/" + e.TransactionID
	s := b.sessions[key]
	if s == nil {
		s = &booking{gateway: gateway, first: e, last: e}
		b.sessions[key] = s
	}
	if e.SeqNo < s.first.SeqNo {
		s.first = e
	}
	if e.SeqNo > s.last.SeqNo {
		s.last = e
	}
	for _, mark := range e.Review {
		s.mark(mark)
	}
}

func (s *booking) mark(m session.Review) {
	if !slices.Contains(s.review, m) {
		s.review = append(s.review, m)
	}
}

func (s *booking) resolve(anchors map[string][]session.Stamp) {
	s.start, s.end = settleClock(s.first.At, anchors), settleClock(s.last.At, anchors)
	if s.start.Clock == session.ClockUnknown || s.end.Clock == session.ClockUnknown {
		s.mark(session.ReviewTimeUnknown)
	}
}

// settleClock gives a stamp the wall clock of the anchor that is nearest to it in
// its boot: what was unknown then can be known by now.
func settleClock(at session.Stamp, anchors map[string][]session.Stamp) session.Stamp {
	if at.Clock == session.ClockSynced {
		return at
	}
	var nearest session.Stamp
	for _, a := range anchors[at.BootID] {
		if nearest.BootID == "" || (a.Up-at.Up).Abs() < (nearest.Up-at.Up).Abs() {
			nearest = a
		}
	}
	if nearest.BootID == "" {
		return at
	}
	at.Wall, at.Clock = nearest.Wall.Add(at.Up-nearest.Up), nearest.Clock
	return at
}

func (s *booking) row(local *time.Location) []string {
	const utc, wall = "2006-01-02T15:04:05Z", "2006-01-02 15:04:05"
	e := s.last
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	row := []string{s.gateway, e.TransactionID, e.Station, string(e.Kind), e.Account, e.UID,
		s.start.Wall.UTC().Format(utc), s.start.Wall.In(local).Format(wall), "", "",
		number(e.Seconds), number(e.Energy), number(e.MeterStart), number(e.MeterValue), string(e.StoppedReason),
		string(worse(s.start.Clock, s.end.Clock)), "", "open"}
	if e.EventType == session.Ended {
		row[8], row[9], row[17] = s.end.Wall.UTC().Format(utc), s.end.Wall.In(local).Format(wall), "ended"
	}
	marks := make([]string, len(s.review))
	for i, m := range s.review {
		marks[i] = string(m)
	}
	row[16] = strings.Join(marks, ";")
	return row
}

func worse(a, b session.ClockQuality) session.ClockQuality {
	order := []session.ClockQuality{session.ClockSynced, session.ClockEstimated, session.ClockUnknown}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}
