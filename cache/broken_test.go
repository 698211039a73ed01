package cache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/session"
)

// diskFaults are the ways in which the disk of T6 is broken.
var diskFaults = map[string]cachetest.Fault{
	"full":             {Full: true},
	"read-only":        {ReadOnly: true},
	"EIO on write":     {Write: syscall.EIO},
	"EIO on sync":      {Sync: syscall.EIO},
	"EIO on read":      {Read: syscall.EIO},
	"all of it EIO":    {Read: syscall.EIO, Write: syscall.EIO, Sync: syscall.EIO},
	"two seconds slow": {SyncTakes: 2 * time.Second},
}

// breakDisk asks the process that serves the disk for a fault; "" is none.
func breakDisk(fault string) error {
	fmt.Println("disk " + fault)
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// T6: whatever the disk does, a new session is refused with a signal of its own,
// or has been written; a running one ends, its relay opens at once, and its end
// is in the ledger once the disk allows; every tap is answered. And when the
// power goes after all that, nothing that was promised is missing.
func TestT6_BrokenDisk(t *testing.T) {
	for fault := range diskFaults {
		for _, restart := range []string{"", ", restarted"} {
			if restart != "" && fault != "full" {
				continue // no ledger opens on the others
			}
			t.Run(fault+restart, func(t *testing.T) {
				t.Parallel()
				d := cachetest.New(cachetest.Model{})
				if wrong := withPower(t, d, "broken", fault+restart); wrong != "<nil>" {
					t.Fatal(wrong)
				}
				d.Cut()
				d.Survive()
				if wrong := withPower(t, d, "check broken"); wrong != "<nil>" {
					t.Error("after a power cut:", wrong)
				}
			})
		}
	}
}

// workOnBrokenDisk is a site whose disk breaks while a session runs at one and
// two is free.
func workOnBrokenDisk(dir, fault string) error {
	fault, restart, _ := strings.Cut(fault, ", ")
	s, err := openSite(dir)
	if err != nil {
		return err
	}
	if d := s.tap("hall", badge(0)); d.Action != session.ActionStart {
		return fmt.Errorf("got %+v on a disk that is well, want a start", d)
	}
	if err := breakDisk(fault); err != nil {
		return err
	}
	if restart != "" {
		if err := s.close(); err != nil {
			return fmt.Errorf("stop on a %s disk: %w", fault, err)
		}
		if err := breakDisk(fault); err != nil { // no room by the files that are gone either
			return err
		}
		if s, err = openSite(dir); err != nil {
			return fmt.Errorf("start on a %s disk: %w", fault, err)
		}
		if !s.eventually("one on") {
			return errors.New("got no relay from the journal")
		}
	}
	if err := s.meetsFault(fault); err != nil {
		return err
	}
	if err := breakDisk(""); err != nil {
		return err
	}
	if err := s.recovers(); err != nil {
		return err
	}
	return s.close()
}

// meetsFault taps at both stations while the disk is broken.
func (s *site) meetsFault(fault string) error {
	d := s.tap("yard", badge(1))
	allowed := map[string]session.Reason{"full": session.StorageFull, "two seconds slow": "", "EIO on read": ""}
	want, ok := allowed[fault]
	if !ok {
		want = session.StorageFault
	}
	if d.Reason == "" && fault != "EIO on read" && !s.saw("committed", "two on") {
		return fmt.Errorf("got relay and journal %q, want the start of two on disk before its relay closes", s.seen())
	}
	// What the database has in memory it may not have to read.
	unread := fault == "EIO on read" && (d.Reason == session.ListUnreadable || d.Reason == session.StorageFault)
	if d.Reason != want && !unread {
		return fmt.Errorf("got %q for a new session, want %q", d.Reason, want)
	}
	if on := s.relay("two"); on != (d.Reason == "") {
		return fmt.Errorf("got relay two %t after %q", on, d.Reason)
	}
	if d.Reason != "" && !s.showed(session.Signal{Name: session.SignalRefused, Reason: d.Reason, Reader: "yard"}) {
		return fmt.Errorf("got signals %+v, want the refusal at yard", s.signals)
	}
	if d := s.tap("cellar", badge(99)); d.Reason != session.UnknownBadge && d.Reason != session.ListUnreadable {
		return fmt.Errorf("got %q for a stranger, want an answer", d.Reason)
	}
	s.forget()
	if d := s.tap("hall", badge(0)); d.Action != session.ActionStop {
		return fmt.Errorf("got %+v at the running session, want its end", d)
	}
	if s.relay("one") {
		return errors.New("got relay one on after its end, want it off whatever the disk does")
	}
	if seen := s.seen(); len(seen) == 0 || seen[0] != "one off" {
		return fmt.Errorf("got %q, want the relay open before anything is written", seen)
	}
	if fault == "full" && !s.eventually("committed") {
		return fmt.Errorf("got %q, want the end written by the room of the reserve", s.seen())
	}
	return nil
}

// recovers is what must be once the disk is well.
func (s *site) recovers() error {
	ended := func() bool {
		records, err := allRecords(context.Background(), s.ledger)
		if err != nil || len(records) == 0 {
			return false
		}
		for _, m := range records {
			if strings.Contains(string(m.Record), `"eventType":"Ended"`) {
				return true
			}
		}
		return false
	}
	if !until(ended) {
		return fmt.Errorf("got no end in the ledger, %q, want it tried until it holds", s.seen())
	}
	began := func() bool {
		if s.relay("two") {
			return true
		}
		s.ahead(time.Minute) // past the dead time
		return s.tap("yard", badge(1)).Action == session.ActionStart
	}
	if !until(began) {
		return fmt.Errorf("got no start at two, last %+v, want one once the disk is well", s.last)
	}
	return nil
}

// sessionsHold checks what the ledger has after all: one and two began once, one
// ended once, two runs.
func sessionsHold(dir string) error {
	l, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), opts)
	if err != nil {
		return err
	}
	defer l.Close()
	if l.Recovered() != "" {
		return errors.New(l.Recovered())
	}
	records, err := allRecords(context.Background(), l)
	if err != nil {
		return err
	}
	var events []string
	for _, m := range records {
		var e session.TransactionEvent
		if err := json.Unmarshal(m.Record, &e); err != nil {
			return err
		}
		if e.EventType == session.Started || e.EventType == session.Ended {
			events = append(events, e.Station+" "+string(e.EventType))
		}
	}
	if got := strings.Join(events, ", "); got != "one Started, one Ended, two Started" && got != "one Started, two Started, one Ended" {
		return fmt.Errorf("got %s, want one begun and ended, two begun", got)
	}
	states, err := l.States(context.Background())
	if err != nil {
		return err
	}
	if strings.Contains(string(states["one"]), `"session"`) || !strings.Contains(string(states["two"]), `"session"`) {
		return fmt.Errorf("got states %s, want a session at two alone", states)
	}
	return chained(records)
}

// site is stations one, two and three, whose readers are hall, yard and cellar, on
// real databases. It notes what it sees of them in order.
type site struct {
	ledger  *cache.Ledger
	list    *cache.List
	ctl     *session.Controller
	stop    func() error
	decided chan session.Decision
	last    session.Decision

	mu      sync.Mutex
	skipped time.Duration
	events  []string // "one on", "committed", "not committed"
	on      map[string]bool
	signals []session.Signal
}

func openSite(dir string) (*site, error) {
	s := &site{decided: make(chan session.Decision, 16), on: map[string]bool{}}
	o := opts
	o.Reserve = 1 << 20 // room for the logs of both databases, too
	var err error
	if s.ledger, err = cache.OpenLedger(filepath.Join(dir, "ledger.db"), o); err != nil {
		return nil, err
	}
	if s.list, err = cache.OpenList(filepath.Join(dir, "list.db")); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if v, err := s.list.InForce(ctx); err == nil && v.Version == 0 {
		es := entries(0, 10)
		if err := errors.Join(s.list.Stage(ctx, version(1, 10), 0, es), s.list.Activate(ctx, version(1, 10), 1)); err != nil {
			cancel()
			return nil, err
		}
	}
	c := session.Config{Billing: session.Statements, NewID: func() string { return fmt.Sprint(time.Now().UnixNano()) }}
	power := map[string]session.Power{}
	for station, reader := range map[string]string{"one": "hall", "two": "yard", "three": "cellar"} {
		sc := session.DefaultStation(session.Charging)
		sc.ID, sc.Reader, sc.Meter = station, reader, false
		c.Stations = append(c.Stations, sc)
		power[station] = contact{s, station}
	}
	s.ctl = session.NewController(c, session.Deps{List: s.list, Journal: watched{s}, Power: power, Panel: s, Clock: s.stamp,
		Observe: func(d session.Decision) { s.decided <- d }})
	done := make(chan error, 1)
	go func() { done <- s.ctl.Run(ctx) }()
	s.stop = func() error { cancel(); return <-done }
	return s, nil
}

func (s *site) close() error {
	err := s.stop()
	return errors.Join(err, s.ledger.Close(), s.list.Close())
}

// tap waits for the decision, at most as long as a slow disk may take.
func (s *site) tap(reader string, uid session.IDToken) session.Decision {
	s.ahead(time.Minute) // past any dead time
	s.ctl.Tap(reader, uid, session.Card{})
	select {
	case s.last = <-s.decided:
	case <-time.After(time.Minute):
		s.last = session.Decision{Reason: "no answer"}
	}
	return s.last
}

var epoch = time.Now()

func (s *site) stamp() session.Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stamp(time.Since(epoch) + s.skipped)
}

func (s *site) ahead(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped += d
}

func (s *site) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *site) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}

func (s *site) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

// saw tells whether the events came in this order, others between them.
func (s *site) saw(want ...string) bool {
	for _, e := range s.seen() {
		if len(want) > 0 && e == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func (s *site) eventually(event string) bool { return until(func() bool { return s.saw(event) }) }

func until(holds func() bool) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

func (s *site) Show(sig session.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signals = append(s.signals, sig)
}

func (s *site) showed(want session.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range s.signals {
		if got.Name == want.Name && got.Reason == want.Reason && got.Reader == want.Reader {
			return true
		}
	}
	return false
}

func (s *site) relay(station string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[station]
}

// contact is the relay of a station of a site.
type contact struct {
	*site
	station string
}

func (c contact) Set(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on[c.station] != on {
		c.on[c.station] = on
		c.events = append(c.events, c.station+map[bool]string{true: " on", false: " off"}[on])
	}
	return nil
}

// watched is the ledger of a site.
type watched struct{ *site }

func (w watched) Commit(ctx context.Context, c session.Commit) error {
	err := w.ledger.Commit(ctx, c)
	if len(c.Records) > 0 {
		w.note(map[bool]string{true: "committed", false: "not committed"}[err == nil])
	}
	return err
}

func (w watched) States(ctx context.Context) (map[string][]byte, error) { return w.ledger.States(ctx) }

// oneLine is an error on one line, for the parent to read.
func oneLine(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", "; ") }
