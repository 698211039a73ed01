package audit

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// event is a TransactionEvent as the contract has it.
type event struct {
	Type          string   `json:"type"`
	EventType     string   `json:"eventType"`
	TransactionID string   `json:"transactionId"`
	SeqNo         int      `json:"seqNo"`
	StoppedReason string   `json:"stoppedReason"`
	Station       string   `json:"station"`
	UID           string   `json:"uid"`
	MeterStart    int64    `json:"meterStart"`
	MeterValue    int64    `json:"meterValue"`
	Energy        int64    `json:"energy"`
	Seconds       int64    `json:"seconds"`
	Review        []string `json:"review"`
	List          struct {
		Version uint64 `json:"version"`
	} `json:"list"`
	At struct {
		BootID string `json:"bootId"`
		BootUs int64  `json:"bootUs"`
	} `json:"at"`
	Carried *struct {
		Hash string `json:"hash"`
	} `json:"carried"`

	at moment
}

// session is what the store has of one transaction.
type session struct {
	span
	id     string
	events []event
	hash   map[int]string // of each seqNo, as it was made at first
	of     *Station
	tap    *tap
}

func (s *session) start() event { return s.events[0] }
func (s *session) end() event   { return s.events[len(s.events)-1] }
func (s *session) String() string {
	return fmt.Sprintf("session %.8s at %s (%d to %d, %d Wh, %s %s)", s.id, s.start().Station, s.from, s.to,
		s.end().Energy, s.end().StoppedReason, list(s.end().Review))
}

func (s *session) marked(review string) bool { return slices.Contains(s.end().Review, review) }

// gather makes sessions of the records, and judges each by itself.
func (a *audit) gather(records []Record) {
	byID := map[string]*session{}
	for _, r := range records {
		var e event
		if err := json.Unmarshal(r.Record, &e); err != nil {
			a.find("session", "record %d of %s cannot be read: %v", r.Seq, r.Ledger, err)
			continue
		}
		if e.Type != "TransactionEvent" {
			continue
		}
		a.enter(byID, r, e)
	}
	for _, s := range byID {
		if a.whole(s) {
			a.sessions = append(a.sessions, s)
		}
	}
	slices.SortFunc(a.sessions, func(x, y *session) int {
		return cmp.Or(strings.Compare(x.of.ID, y.of.ID), int(x.from-y.from), strings.Compare(x.id, y.id))
	})
	for i, s := range a.sessions[min(1, len(a.sessions)):] {
		if before := a.sessions[i]; before.of == s.of && (s.from < before.to || s.start().MeterStart < before.end().MeterValue) {
			a.find("session", "%v overlaps %v", s, before)
		}
	}
	a.figures.Sessions = len(a.sessions)
}

// enter puts an event into its session, unless it is there from an earlier ledger.
func (a *audit) enter(byID map[string]*session, r Record, e event) {
	booted, ok := a.log.boots[e.At.BootID]
	if !ok {
		a.find("time", "record %d of %s is of a boot that was none: %s", r.Seq, r.Ledger, e.At.BootID)
		return
	}
	e.at = booted + moment(e.At.BootUs)
	s := byID[e.TransactionID]
	if s == nil {
		s = &session{id: e.TransactionID, hash: map[int]string{}}
		byID[e.TransactionID] = s
	}
	hash := r.Hash
	if e.Carried != nil {
		hash = e.Carried.Hash
	}
	switch s.hash[e.SeqNo] {
	case hash:
		return
	case "":
		s.hash[e.SeqNo] = hash
		s.events = append(s.events, e)
	default:
		a.find("session", "%.8s says two things under seqNo %d", s.id, e.SeqNo)
	}
}

// whole tells whether a session has a beginning and an end and nothing amiss
// between; else it says what.
func (a *audit) whole(s *session) bool {
	slices.SortFunc(s.events, func(x, y event) int { return x.SeqNo - y.SeqNo })
	for i, e := range s.events {
		want := "Updated"
		if i == 0 {
			want = "Started"
		} else if i == len(s.events)-1 {
			want = "Ended"
		}
		if e.SeqNo != i || e.EventType != want {
			a.find("session", "%.8s at %s has %s %d where %s %d should be", s.id, e.Station, e.EventType, e.SeqNo, want, i)
			return false
		}
		if e.Energy != e.MeterValue-e.MeterStart || e.Energy < 0 {
			a.find("session", "%.8s: %d Wh from %d to %d", s.id, e.Energy, e.MeterStart, e.MeterValue)
		}
		if i == 0 {
			continue
		}
		b := s.events[i-1]
		if e.Station != b.Station || e.UID != b.UID || e.MeterStart != b.MeterStart {
			a.find("session", "%.8s is another in event %d: %s %s", s.id, i, e.Station, e.UID)
		}
		if e.at < b.at || e.Energy < b.Energy || e.Seconds < b.Seconds {
			a.find("session", "%.8s takes back in event %d what it said in the one before", s.id, i)
		}
	}
	if len(s.events) < 2 {
		a.find("session", "%.8s at %s never ended", s.id, s.start().Station)
		return false
	}
	s.span = span{s.start().at, s.end().at}
	i := slices.IndexFunc(a.site.Stations, func(x Station) bool { return x.ID == s.start().Station })
	if i < 0 {
		a.find("session", "%.8s is of no station: %s", s.id, s.start().Station)
		return false
	}
	s.of = &a.site.Stations[i]
	return true
}

// mac is how records carry a UID.
func (a *audit) mac(uid string) string {
	h := hmac.New(sha256.New, a.site.SiteKey)
	h.Write([]byte(uid))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// decides is how long the gateway may take from a card's coming to its answer:
// the reader's slowest visit and the list's lookup, which has two seconds.
const decides = 3 * time.Second

// taps finds for each session the tap that started it.
func (a *audit) taps() {
	macs := map[string]string{}
	for _, t := range a.log.taps {
		if macs[t.uid] == "" {
			macs[t.uid] = a.mac(t.uid)
		}
	}
	for _, s := range a.sessions {
		for _, t := range a.log.taps {
			if t.reader == s.of.Reader && macs[t.uid] == s.start().UID && t.from <= s.from && s.from <= t.to.plus(decides) {
				s.tap = t // the last that fits
			}
		}
		switch {
		case s.tap == nil:
			a.find("tap", "%v: nobody tapped for it", s)
		case s.tap.of != nil:
			a.find("tap", "%v and %v are of one tap", s.tap.of, s)
		default:
			s.tap.of = s
		}
	}
}

// answers finds the session of everything that a resident was told.
func (a *audit) answers() {
	for _, e := range a.log.answers {
		if e.Status != "Accepted" || e.TransactionID == "" {
			continue
		}
		a.figures.Answers++
		if !slices.ContainsFunc(a.sessions, func(s *session) bool { return s.id == e.TransactionID && s.of.ID == e.Station }) {
			a.find("answer", "somebody was told of session %.8s at %s, at %d: there is none", e.TransactionID, e.Station, e.AtUs)
		}
	}
}

// times holds a session's seconds against the machine's clock. Over a power cut
// a session has no more than that: the time off is not counted.
func (a *audit) times() {
	for _, s := range a.sessions {
		for _, e := range s.events {
			passed := e.at.minus(s.from).Seconds()
			off := float64(e.Seconds) - passed
			if off > 1 || off < -1.001 && e.At.BootID == s.start().At.BootID {
				a.find("time", "%v says %d s at event %d, %.1f s passed", s, e.Seconds, e.SeqNo, passed)
			}
		}
	}
}

// lists holds every start against the list that was in force.
func (a *audit) lists() {
	for i, said := range a.log.said {
		if i > 0 && said.Version < a.log.said[i-1].Version {
			a.find("list", "version %d was in force at %d, and version %d before", said.Version, said.AtUs, a.log.said[i-1].Version)
		}
	}
	uids := map[string]string{}
	for _, t := range a.log.taps {
		uids[a.mac(t.uid)] = t.uid
	}
	for _, s := range a.sessions {
		uid, version := uids[s.start().UID], s.start().List.Version
		badges, known := a.log.lists[version]
		if !known {
			a.find("list", "%v was started by list version %d, which nobody published", s, version)
			continue
		}
		if badges[uid] != "Accepted" {
			a.find("list", "%v was started by %s, %q in list version %d", s, uid, badges[uid], version)
		}
		for _, said := range a.log.said {
			if moment(said.AtUs).plus(decides) < s.from && said.Version > version {
				a.find("list", "%v was started by list version %d, long after version %d was in force", s, version, said.Version)
				break
			}
		}
		a.withdrawn(s, uid)
	}
}

// withdrawn wants charging ended where the gateway knew for long that its badge
// is blocked, and nobody cut it off.
func (a *audit) withdrawn(s *session, uid string) {
	for _, said := range a.log.said {
		at := span{moment(said.AtUs), moment(said.AtUs).plus(4 * decides)}
		badges, known := a.log.lists[said.Version]
		if !s.of.Charging || !known || badges[uid] == "Accepted" || at.from < s.from || at.to > s.to ||
			slices.ContainsFunc(a.log.cuts, at.meets) {
			continue
		}
		a.find("list", "%v went on after list version %d, in force at %d, had withdrawn %s", s, said.Version, said.AtUs, uid)
		return
	}
}
