package backend

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"badged/session"
)

// reviewConflict marks a session of which two different records came under one
// number: a restored or cloned card has told another story than the first one.
const reviewConflict session.Review = "Conflict"

// books are the sessions and the clock anchors of a gateway's records.
type books struct {
	sessions map[string]*booking        // by transaction
	anchors  map[string][]session.Stamp // by boot
	odd      []error                    // records that could not be read
}

func newBooks() *books {
	return &books{sessions: make(map[string]*booking), anchors: make(map[string][]session.Stamp)}
}

// booking is one session.
type booking struct {
	gateway    string
	first      session.TransactionEvent // Started, or the earliest there is
	last       session.TransactionEvent // Ended, or the latest there is
	start, end session.Stamp            // with the wall clock as it is known by now
	review     []session.Review
	seen       map[int]string // hashes by seqNo
}

// add books a record. It returns the session that the record says something new
// about, else nil. A record that cannot be read is noted, not an end: one gateway
// must not keep the others from being billed.
func (b *books) add(r Record) *booking {
	s, err := b.enter(r)
	if err != nil {
		b.odd = append(b.odd, fmt.Errorf("%s, ledger %s, record %d: %w", r.Gateway, r.Ledger, r.Seq, err))
	}
	return s
}

func (b *books) enter(r Record) (*booking, error) {
	var is struct {
		Type    string
		Carried *struct{ Hash string } // in a record that was made in an earlier ledger
	}
	if err := json.Unmarshal(r.Record, &is); err != nil {
		return nil, err
	}
	hash := r.Hash
	if is.Carried != nil {
		hash = is.Carried.Hash
	}
	switch is.Type {
	case session.TransactionEvent{}.RecordType():
		var e session.TransactionEvent
		if err := json.Unmarshal(r.Record, &e); err != nil {
			return nil, err
		}
		return b.book(r.Gateway, hash, e), nil
	case session.ClockAnchor{}.RecordType():
		var a session.ClockAnchor
		if err := json.Unmarshal(r.Record, &a); err != nil {
			return nil, err
		}
		b.anchors[a.At.BootID] = append(b.anchors[a.At.BootID], a.At)
	}
	return nil, nil
}

// book enters an event into its session, each once: hash is that of the record
// as it was first made, whatever ledger it came in.
func (b *books) book(gateway, hash string, e session.TransactionEvent) *booking {
	s := b.sessions[e.TransactionID]
	if s == nil {
		s = &booking{gateway: gateway, first: e, last: e, seen: make(map[int]string)}
		b.sessions[e.TransactionID] = s
	}
	switch s.seen[e.SeqNo] {
	case hash:
		return nil
	case "":
		s.seen[e.SeqNo] = hash
	default:
		s.mark(reviewConflict)
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
	return s
}

// sorted gives all sessions by start, with their times settled.
func (b *books) sorted() []*booking {
	rows := make([]*booking, 0, len(b.sessions))
	for _, s := range b.sessions {
		s.resolve(b.anchors)
		rows = append(rows, s)
	}
	slices.SortFunc(rows, func(a, b *booking) int {
		if c := a.start.Wall.Compare(b.start.Wall); c != 0 {
			return c
		}
		return strings.Compare(a.last.TransactionID, b.last.TransactionID)
	})
	return rows
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
	all := anchors[at.BootID]
	if len(all) == 0 {
		return at
	}
	// A clock that was stepped was wrong before: what the last anchor says holds.
	last := slices.MaxFunc(all, func(a, b session.Stamp) int { return cmp.Compare(a.Up, b.Up) })
	nearest := last
	for _, a := range all {
		if a.Agrees(last) && (a.Up-at.Up).Abs() < (nearest.Up-at.Up).Abs() {
			nearest = a
		}
	}
	if at.Clock != session.ClockSynced || !at.Agrees(nearest) {
		at.Wall, at.Clock = nearest.Wall.Add(at.Up-nearest.Up), nearest.Clock
	}
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
	for i, cell := range row {
		row[i] = inert(cell)
	}
	return row
}

// inert keeps a spreadsheet from taking a text for a formula, which could fetch and
// send: an account "=1+1" becomes "'=1+1". Numbers stay numbers.
func inert(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return cell
	}
	if _, err := strconv.ParseInt(cell, 10, 64); err == nil && cell[0] == '-' {
		return cell
	}
	return "'" + cell
}

func worse(a, b session.ClockQuality) session.ClockQuality {
	order := []session.ClockQuality{session.ClockSynced, session.ClockEstimated, session.ClockUnknown}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}
