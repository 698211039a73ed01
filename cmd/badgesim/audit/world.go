package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Entry is a line of the story's log: what the world did, and what was seen of
// the gateway from outside. AtUs is the machine's own CLOCK_BOOTTIME, which no
// clock of the gateway moves.
type Entry struct {
	AtUs int64  `json:"atUs"`
	What string `json:"what"`

	// relay, load, plug: the machine's doings, and what it had drawn by then.
	Station string  `json:"station,omitempty"`
	On      bool    `json:"on,omitempty"`
	Watts   float64 `json:"watts,omitempty"`
	Wh      float64 `json:"wh,omitempty"`
	// put, removed: a card at a reader.
	Reader string `json:"reader,omitempty"`
	UID    string `json:"uid,omitempty"`
	// boot: AtUs is when it began.
	BootID string `json:"bootId,omitempty"`
	// answer: what a resident was told.
	Status        string `json:"status,omitempty"`
	TransactionID string `json:"transactionId,omitempty"`
	// list: what is published, by UID; said: what the gateway reports in force.
	Version uint64            `json:"version,omitempty"`
	Badges  map[string]string `json:"badges,omitempty"`
	// cut: the gateway died. up: it reads its meters again. meter: what it says of a
	// station at the end, in mWh.
	Register     int64 `json:"register,omitempty"`
	Unattributed int64 `json:"unattributed,omitempty"`
}

// ReadLog reads a log, an Entry a line.
func ReadLog(r io.Reader) ([]Entry, error) {
	var out []Entry
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e Entry
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read log: line %d: %w", len(out)+1, err)
		}
		out = append(out, e)
	}
	return out, in.Err()
}

// moment is a time of the machine's, in microseconds.
type moment int64

func (m moment) plus(d time.Duration) moment { return m + moment(d.Microseconds()) }
func (m moment) minus(o moment) time.Duration {
	return time.Duration(m-o) * time.Microsecond
}

const forever moment = 1<<63 - 1

// span is a time from one moment until another.
type span struct{ from, to moment }

func (s span) has(m moment) bool { return s.from <= m && m <= s.to }
func (s span) meets(o span) bool { return s.from <= o.to && o.from <= s.to }
func (s span) String() string    { return fmt.Sprintf("%d to %d", s.from, s.to) }

// tap is a card before a reader.
type tap struct {
	span
	reader, uid string
	of          *session // that it started
}

// point is what a machine had drawn by a moment.
type point struct {
	at moment
	wh float64
}

// world is the log, sorted out.
type world struct {
	boots   map[string]moment
	taps    []*tap
	answers []Entry
	on      map[string][]span  // of relays, by station
	drawn   map[string][]point // by station
	cuts    []span             // from a cut until meters are read again
	lists   map[uint64]map[string]string
	said    []Entry
	meters  map[string]Entry
}

func readWorld(log []Entry) world {
	w := world{boots: map[string]moment{}, on: map[string][]span{}, drawn: map[string][]point{},
		lists: map[uint64]map[string]string{}, meters: map[string]Entry{}}
	log = slices.Clone(log)
	slices.SortStableFunc(log, func(a, b Entry) int { return int(a.AtUs - b.AtUs) })
	for _, e := range log {
		w.read(e)
	}
	return w
}

func (w *world) read(e Entry) {
	at := moment(e.AtUs)
	switch e.What {
	case "relay", "load", "plug":
		w.drawn[e.Station] = append(w.drawn[e.Station], point{at, e.Wh})
		if e.What == "relay" {
			w.relay(e.Station, at, e.On)
		}
	case "put":
		w.taps = append(w.taps, &tap{span: span{at, forever}, reader: e.Reader, uid: e.UID})
	case "removed":
		for _, t := range w.taps {
			if t.to == forever && t.reader == e.Reader && t.uid == e.UID {
				t.to = at
			}
		}
	case "boot":
		w.boots[e.BootID] = at
	case "answer":
		w.answers = append(w.answers, e)
	case "cut":
		w.cuts = append(w.cuts, span{at, forever})
	case "up":
		for i := range w.cuts {
			w.cuts[i].to = min(w.cuts[i].to, at)
		}
	case "list":
		w.lists[e.Version] = e.Badges
	case "said":
		w.said = append(w.said, e)
	case "meter":
		w.meters[e.Station] = e
	}
}

func (w *world) relay(station string, at moment, on bool) {
	spans := w.on[station]
	if on {
		w.on[station] = append(spans, span{at, forever})
		return
	}
	if n := len(spans); n > 0 && spans[n-1].to == forever {
		spans[n-1].to = at
	}
}

// wh is what a station's machine had drawn by a moment; between two changes of
// anything it draws evenly.
func (w *world) wh(station string, at moment) float64 {
	points := w.drawn[station]
	i, _ := slices.BinarySearchFunc(points, at, func(p point, at moment) int { return int(p.at - at) })
	switch {
	case len(points) == 0:
		return 0
	case i == 0:
		return points[0].wh
	case i == len(points):
		return points[i-1].wh
	}
	a, b := points[i-1], points[i]
	return a.wh + (b.wh-a.wh)*float64(at-a.at)/float64(max(1, b.at-a.at))
}

// between is what it drew from one moment to another.
func (w *world) between(station string, s span) float64 {
	return max(0, w.wh(station, s.to)-w.wh(station, s.from))
}

func list(words []string) string { return strings.Join(words, ", ") }
