package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/session"
)

// stage is a gateway of one station, whose clock, meter and badges the test moves.
type stage struct {
	*power
	hands    *hands
	register session.MilliWattHours
	watts    float64
	copied   string // the state folder as a reset would find it
	relayWas bool   // then
}

// newStage sets a station up whose meter measures power; the reader does not work,
// which is not what this is about.
func newStage(t *testing.T, kind session.Service) *stage {
	t.Helper()
	s := newStageOn(t, kind, nowhere)
	list, err := cache.OpenList(filepath.Join(s.cfg.State, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, list, []session.Entry{
		{UID: "04A1B2C3", Status: session.Accepted, Account: "a"},
		{UID: "04A1B2C4", Status: session.Accepted, Account: "s", Role: session.Tester},
	})
	if err := list.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// newStageOn is one that gets its list from a broker.
func newStageOn(t *testing.T, kind session.Service, broker string) *stage {
	t.Helper()
	text := chargerConfig
	if kind == session.Laundry {
		text = benchConfig
	}
	s := &stage{power: &power{house: newHouseOf(t, text, broker), stop: func() {}}}
	s.deaf, s.hw.noChip = true, errors.New("no reader here")
	c := &s.cfg.Stations[0].StationConfig
	c.Meter, c.MeterPower, c.RunTime = true, true, 0
	if kind == session.Laundry {
		c.EarliestEnd = 15 * time.Minute // room to be idle before
	}
	if err := os.MkdirAll(s.cfg.State, 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// wake starts the gateway by a clock and lets it hear of its meter.
func (s *stage) wake(c *clock, h *hands) {
	s.t.Helper()
	s.hands = h
	ctx, cancel := context.WithCancel(context.Background())
	s.g = newGateway(s.cfg, s.hw, slog.New(slog.NewTextHandler(io.Discard, nil)), c)
	done := make(chan error, 1)
	go func() { done <- s.g.work(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("gateway ended: %v", err)
		}
		s.stop = func() {}
	}
	s.t.Cleanup(func() { s.stop() })
	select {
	case <-s.g.driven:
	case <-time.After(time.Minute):
		s.t.Fatal("relays not driven")
	}
	s.pass(time.Second)
}

// pass lets time go by in readings of the meter.
func (s *stage) pass(d time.Duration) {
	s.t.Helper()
	for ; d > 0; d -= time.Minute {
		step := min(d, time.Minute)
		s.hands.pass(step)
		s.register += 1 + session.MilliWattHours(s.watts*1000*step.Hours()) // 1, to see when it has been read
		s.g.ctl.Meter(s.cfg.Stations[0].ID, session.Sample{Register: s.register, Power: s.watts, HasPower: true})
		s.until("the reading", func(st session.StationStatus) bool { return st.Register == s.register })
	}
}

func (s *stage) load(watts float64, d time.Duration) {
	s.t.Helper()
	s.watts = watts
	s.pass(d)
}

func (s *stage) status() session.StationStatus { return s.g.ctl.Status()[0] }

func (s *stage) until(what string, holds func(session.StationStatus) bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(s.status()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s did not come: %+v", what, s.status())
		}
	}
}

// show taps a badge, long after whatever it did before, until the phase is reached.
func (s *stage) show(uid session.IDToken, phase session.Phase) {
	s.t.Helper()
	s.pass(20 * time.Second)
	s.g.ctl.Tap("hall", uid, session.Card{})
	s.until(string(phase), func(st session.StationStatus) bool { return st.Phase == phase })
}

// reset copies the files as a process or a board leaves them that ends here and now.
func (s *stage) reset() {
	if s.copied != "" {
		return
	}
	dir := s.t.TempDir()
	for _, name := range []string{"ledger.db", "ledger.db-wal", "list.db", "list.db-wal"} {
		b, err := os.ReadFile(filepath.Join(s.cfg.State, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.t.Error(err)
		}
	}
	s.copied = dir
}

// settled waits until nothing is left to be written, and resets.
func (s *stage) settled() {
	s.t.Helper()
	for end, calm := time.Now().Add(time.Minute), 0; calm < 20; time.Sleep(time.Millisecond) {
		if calm++; s.g.ctl.Writing() > 0 || !s.written() {
			calm = 0
		}
		if time.Now().After(end) {
			s.t.Fatal("the journal is not done")
		}
	}
	s.reset()
	s.relayWas, _ = s.hw.relay()
}

// written tells whether the ledger says of the session what the station says: what
// the controller has decided is written a moment later.
func (s *stage) written() bool {
	s.t.Helper()
	all, err := s.g.ledger.Last(s.t.Context(), 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	open := ""
	for _, m := range all {
		var e session.TransactionEvent
		if err := json.Unmarshal(m.Record, &e); err != nil {
			s.t.Fatal(err)
		}
		switch {
		case e.TransactionID == "":
		case e.EventType == session.Ended:
			open = ""
		default:
			open = e.TransactionID
		}
	}
	return open == s.status().TransactionID
}

// atRelay resets in the moment before the relay moves.
func (s *stage) atRelay(do func()) {
	s.t.Helper()
	s.hw.mu.Lock()
	s.hw.moving = func(on bool) {
		s.reset()
		s.relayWas = !on
	}
	s.hw.mu.Unlock()
	do()
	s.hw.mu.Lock()
	s.hw.moving = nil
	s.hw.mu.Unlock()
	if s.copied == "" {
		s.t.Fatal("got no move of the relay")
	}
}

// block has the badge of the session blocked.
func (s *stage) block() {
	s.t.Helper()
	to := session.ListVersion{List: "l-1", Epoch: 1, Version: 2, Count: 1, IssuedAt: noon}
	err := errors.Join(
		s.g.list.Stage(s.t.Context(), to, 0, []session.Entry{{UID: "04A1B2C3", Status: session.Blocked, Account: "a"}}),
		s.g.list.Activate(s.t.Context(), to, 1))
	if err != nil {
		s.t.Fatal(err)
	}
	end := s.end()
	s.g.ctl.ListChanged()
	for limit := time.Now().Add(time.Minute); s.end() == end; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			s.t.Fatal("no record of the blocked badge")
		}
	}
}

func (s *stage) end() uint64 {
	s.t.Helper()
	o, err := s.g.ledger.Outbox(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return o.End
}

// afterReset starts on the files of the reset and says what has become of the
// station and its session: "open, InUse, on", "PowerLoss, Available, off".
func (s *stage) afterReset(kind string) string {
	s.t.Helper()
	s.stop()
	s.cfg.State = s.copied
	h := &hands{zero: s.hands.zero, ahead: s.hands.ahead, wall: s.hands.wall, synced: s.hands.synced}
	id := "boot-2"
	s.hw.mu.Lock()
	s.hw.on, s.hw.moves = s.relayWas, 0
	if kind != "restart" {
		s.hw.on = false
	}
	s.hw.mu.Unlock()
	wall := h.wall.Add(h.up())
	switch kind {
	case "restart": // the same boot goes on
		id = "boot-1"
		c := clockBy(id, h)
		s.wake(c, h)
	case "short cut":
		s.wake(boot(id, wall.Add(5*time.Minute)))
	case "long cut":
		s.wake(boot(id, wall.Add(6*time.Hour)))
	case "cut, no clock":
		s.wake(boot(id, time.Time{}))
	}
	s.pass(time.Minute)
	if kind == "cut, no clock" {
		s.pass(6 * time.Minute)
	}
	s.settled()
	st := s.status()
	on, _ := s.hw.relay()
	told := s.story()
	return fmt.Sprintf("%s, %s, %s", told, st.Phase, map[bool]string{true: "on", false: "off"}[on])
}

// story reads the whole ledger, checks what must hold of it whenever it is reset,
// and says how its last session stands.
func (s *stage) story() string {
	s.t.Helper()
	all, err := s.g.ledger.Last(s.t.Context(), 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	prev := strings.Repeat("0", 64)
	next, energy, over := map[string]int{}, map[string]int64{}, map[string]bool{}
	last := "no session"
	for _, m := range all {
		var e struct {
			Prev string
			session.TransactionEvent
		}
		if err := json.Unmarshal(m.Record, &e); err != nil {
			s.t.Fatal(err)
		}
		if e.Prev != prev {
			s.t.Errorf("got record %d after %s, want a chain", m.Seq, e.Prev)
		}
		prev = m.Hash
		id := e.TransactionID
		if id == "" {
			continue
		}
		if (e.EventType == session.Started) != (next[id] == 0) || e.SeqNo != next[id] || over[id] || e.Energy < energy[id] {
			s.t.Errorf("got %s %d of %s with %d Wh, want one start, then in order, one end, and no energy back", e.EventType, e.SeqNo, id, e.Energy)
		}
		next[id], energy[id], over[id] = e.SeqNo+1, e.Energy, e.EventType == session.Ended
		last = "open"
		if over[id] {
			last = string(e.StoppedReason)
		}
	}
	if open := s.status().TransactionID != ""; open != (last == "open") {
		s.t.Errorf("got a session open at the station: %t, in the ledger: %s", open, last)
	}
	return last
}

// T10: a reset in every state of a session, and around the moves of its relay: what
// the next process finds in the files, and what becomes of it after a restart of
// the daemon, a power cut that was short or long by the clock, and one after which
// nobody knows the time.
func TestT10_ResetInEveryState(t *testing.T) {
	const a, service = "04A1B2C3", "04A1B2C4"
	resets := []string{"restart", "short cut", "long cut", "cut, no clock"}
	for _, tc := range []struct {
		name  string
		kind  session.Service
		reach func(s *stage)
		want  [4]string // after each reset
	}{
		{"laundry, Available", session.Laundry, func(s *stage) { s.settled() },
			[4]string{"no session, Available, off", "no session, Available, off", "no session, Available, off", "no session, Available, off"}},
		{"laundry, Started written, relay not closed", session.Laundry, func(s *stage) { s.atRelay(func() { s.show(a, session.PhasePreparing) }) },
			[4]string{"open, Preparing, on", "open, Preparing, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"laundry, Preparing", session.Laundry, func(s *stage) { s.show(a, session.PhasePreparing); s.settled() },
			[4]string{"open, Preparing, on", "open, Preparing, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"laundry, InUse", session.Laundry, func(s *stage) { s.show(a, session.PhasePreparing); s.load(2000, 4*time.Minute); s.settled() },
			[4]string{"open, InUse, on", "open, InUse, on", "PowerLoss, Available, off", "open, InUse, on"}},
		{"laundry, blocked in mid-cycle", session.Laundry, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(2000, 4*time.Minute)
			s.block()
			s.settled()
		}, [4]string{"open, InUse, on", "open, InUse, on", "PowerLoss, Available, off", "open, InUse, on"}},
		{"laundry, Finishing", session.Laundry, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(2000, 2*time.Minute)
			s.load(0, 9*time.Minute)
			s.until("Finishing", func(st session.StationStatus) bool { return st.Phase == session.PhaseFinishing })
			s.settled()
		}, [4]string{"open, Finishing, on", "open, Finishing, on", "PowerLoss, Available, off", "PowerLoss, Available, on"}}, // for the door
		{"laundry, door release", session.Laundry, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(2000, 5*time.Minute)
			s.load(0, 12*time.Minute)
			s.until("the end", func(st session.StationStatus) bool { return st.Phase == session.PhaseAvailable && st.Relay })
			s.settled()
		}, [4]string{"Other, Available, on", "Other, Available, off", "Other, Available, off", "Other, Available, off"}},
		{"charging, Started written, relay not closed", session.Charging, func(s *stage) { s.atRelay(func() { s.show(a, session.PhasePreparing) }) },
			[4]string{"open, Preparing, on", "open, Preparing, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, Preparing", session.Charging, func(s *stage) { s.show(a, session.PhasePreparing); s.settled() },
			[4]string{"open, Preparing, on", "open, Preparing, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, InUse", session.Charging, func(s *stage) { s.show(a, session.PhasePreparing); s.load(11000, 4*time.Minute); s.settled() },
			[4]string{"open, InUse, on", "open, InUse, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, Finishing", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(11000, 4*time.Minute)
			s.load(0, 9*time.Minute)
			s.until("Finishing", func(st session.StationStatus) bool { return st.Phase == session.PhaseFinishing })
			s.settled()
		}, [4]string{"open, Finishing, on", "open, Finishing, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, relay about to open, end not written", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(11000, 4*time.Minute)
			s.atRelay(func() { s.show(a, session.PhaseAvailable) })
		}, [4]string{"open, InUse, on", "open, InUse, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, ended", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.show(a, session.PhaseAvailable)
			s.settled()
		}, [4]string{"Local, Available, off", "Local, Available, off", "Local, Available, off", "Local, Available, off"}},
		{"charging, blocked", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(11000, 4*time.Minute)
			s.block()
			s.settled()
		}, [4]string{"DeAuthorized, Available, off", "DeAuthorized, Available, off", "DeAuthorized, Available, off", "DeAuthorized, Available, off"}},
		{"charging, Unavailable", session.Charging, func(s *stage) {
			if _, err := s.g.ctl.Command(s.t.Context(), session.CommandDisable, "garage", ""); err != nil {
				s.t.Fatal(err)
			}
			s.settled()
		}, [4]string{"no session, Unavailable, off", "no session, Unavailable, off", "no session, Unavailable, off", "no session, Unavailable, off"}},
		{"charging, Unavailable with a session", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			if _, err := s.g.ctl.Command(s.t.Context(), session.CommandDisable, "garage", ""); err != nil {
				s.t.Fatal(err)
			}
			s.settled()
		}, [4]string{"open, Preparing, on", "open, Preparing, on", "PowerLoss, Unavailable, off", "PowerLoss, Unavailable, off"}},
		{"charging, a technician's test", session.Charging, func(s *stage) { s.atRelay(func() { s.show(service, session.PhaseInUse) }) },
			[4]string{"Local, Available, off", "PowerLoss, Available, off", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
		{"charging, waiting for a clock after a cut", session.Charging, func(s *stage) {
			s.show(a, session.PhasePreparing)
			s.load(11000, 4*time.Minute)
			s.settled()
			s.stop()
			s.cfg.State, s.copied = s.copied, ""
			s.hw.mu.Lock()
			s.hw.on = false
			s.hw.mu.Unlock()
			s.watts = 0
			c, h := boot("boot-1b", time.Time{})
			s.wake(c, h)
			s.until("recovery", func(st session.StationStatus) bool { return st.Recovering })
			s.settled()
			h.mu.Lock()
			h.wall = noon.Add(-h.ahead)
			h.mu.Unlock()
		}, [4]string{"open, InUse, off", "open, InUse, on", "PowerLoss, Available, off", "PowerLoss, Available, off"}},
	} {
		for i, reset := range resets {
			t.Run(tc.name+"/"+reset, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, tc.kind)
				s.wake(boot("boot-1", noon))
				tc.reach(s)
				if got := s.afterReset(reset); got != tc.want[i] {
					t.Errorf("got %q, want %q", got, tc.want[i])
				}
			})
		}
	}
}
