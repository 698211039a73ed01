package main_test

import (
	"context"
	"slices"
	"syscall"
	"time"

	"badged/cmd/badgesim/audit"
	"badged/cmd/internal/control"
	"badged/session"
)

// boot starts the gateway; after a power cut in a boot of its own, whose clock
// is right, wrong or not set.
func (s *crashSite) boot() {
	s.t.Helper()
	if s.boots++; s.boots == 1 || s.end.power {
		s.setClock(true)
	}
	s.gateway = s.spawn("gateway", program(s.t, "badgesim"), "gateway", s.dir, "--config", s.config)
	go s.watch(s.gateway)
}

// setClock gives the board a clock: the true time, or one that is wrong, by
// somebody who has set it, or nobody yet.
func (s *crashSite) setClock(boot bool) {
	s.t.Helper()
	c := control.Clock{Boot: boot, AheadMs: s.ahead.Milliseconds(), Source: "kernel"}
	switch s.rnd.IntN(6) {
	case 0: // a server that is wrong
		c.AheadMs += (s.rnd.Int64N(2*48) - 48) * time.Hour.Milliseconds()
	case 1: // nobody has set it: since 1970
		c.AheadMs, c.Source = -time.Now().UnixMilli(), ""
	case 2: // nobody has set it: it stood still while the power was off
		c.AheadMs, c.Source = c.AheadMs-s.rnd.Int64N(3600_000), ""
	}
	s.do("/v1/clock", c)
}

// watch notes what residents are told, and when the meters are read again.
func (s *crashSite) watch(gateway *child) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		for gateway.alive() { // the door is not there at once
			s.door.Watch(ctx, nil, s.told)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for up := false; !up && gateway.alive(); time.Sleep(10 * time.Millisecond) {
		if st, err := s.status(); err == nil && metered(st) {
			up = true
			s.note(audit.Entry{What: "up"})
		}
	}
	<-gateway.gone
}

func (s *crashSite) told(e control.Event) error {
	if e.Kind == "decision" {
		s.note(audit.Entry{What: "answer", Status: e.Status, Station: e.Station, TransactionID: e.TransactionID})
	}
	return nil
}

// status is the gateway's own, as its door tells it.
func (s *crashSite) status() (st control.Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = s.door.Get(ctx, "/v1/status", &st)
	return st, err
}

// live is a gateway's life until it is cut: sometimes in its first moments,
// mostly in the midst of taps and turns.
func (s *crashSite) live() {
	s.t.Helper()
	after := time.Duration(s.rnd.IntN(2500)) * time.Millisecond
	early := s.rnd.IntN(6) == 0
	switch {
	case early:
		after /= 10
	case s.rnd.IntN(8) == 0:
		after += 6 * time.Second // long enough for a whole dryer
	}
	changes, aimed, aside := 1+s.rnd.IntN(40), s.rnd.IntN(2) == 0, time.Duration(s.rnd.IntN(100))*time.Millisecond
	if !early {
		s.ready()
	}
	dark := make(chan struct{})
	go func() {
		defer close(dark)
		time.Sleep(after)
		if aimed { // at what the next tap brings about
			s.nextTap(aside)
		}
		s.cut(changes)
	}()
	for {
		select {
		case <-dark:
			s.wake()
			return
		default:
			if early {
				s.tap(s.anyBadge(), s.anyStation())
			} else {
				s.act()
			}
		}
	}
}

// ready waits until the gateway reads cards and meters, most times with a list.
func (s *crashSite) ready() {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && s.gateway.alive(); time.Sleep(20 * time.Millisecond) {
		if st, err := s.status(); err == nil && metered(st) && st.List.Version > 0 && readersReady(st) {
			return
		}
	}
	if !s.end.quick {
		s.t.Error("the gateway did not come up")
	}
}

// nextTap waits for the next badge that comes, and some time after it.
func (s *crashSite) nextTap(after time.Duration) {
	select { // one that has gone already
	case <-s.tapped:
	default:
	}
	select {
	case <-s.tapped:
		time.Sleep(after)
	case <-time.After(2 * time.Second):
	}
}

// cut ends the gateway: at once, or with the power, at one of the next changes
// of the disk.
func (s *crashSite) cut(changes int) {
	if s.disk != nil {
		s.disk.CutAfter(changes)
		for end := time.Now().Add(2 * time.Second); !s.disk.Dark() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		s.disk.Cut()
	}
	s.note(audit.Entry{What: "cut"})
	s.gateway.end(syscall.SIGKILL)
}

// wake makes ready for the next life: after a power cut with what the disk kept,
// and some time later.
func (s *crashSite) wake() {
	s.t.Helper()
	if s.disk == nil {
		return
	}
	if err := s.disk.Unmount(); err != nil {
		s.t.Fatal(err)
	}
	s.disk.Survive()
	s.mount()
	if s.rnd.IntN(3) == 0 {
		s.ahead += time.Duration(s.rnd.Int64N(int64(time.Hour)))
	}
}

// act does one thing that happens at a site.
func (s *crashSite) act() {
	s.t.Helper()
	switch n := s.rnd.IntN(100); {
	case n < 55:
		s.use()
	case n < 65:
		s.tap(s.anyBadge(), s.anyStation())
	case n < 73:
		x := s.anyStation()
		s.do("/v1/load", control.Load{Station: x, Watts: s.watts(x) * float64(s.rnd.IntN(3)) / 2})
	case n < 81:
		s.block()
	case n < 86:
		s.setClock(false)
	case n < 90:
		s.loseBroker(s.rnd.IntN(3))
	case n < 93:
		s.backend.end(syscall.SIGKILL)
		s.startBackend()
	default:
		time.Sleep(time.Duration(s.rnd.IntN(300)) * time.Millisecond)
	}
	if st, err := s.status(); err == nil && st.List.Version > 0 {
		s.note(audit.Entry{What: "said", Version: st.List.Version})
	}
}

// loseBroker kills the broker and starts one that knows nothing. With uses, the
// backend is away before: what the broker may have acknowledged meanwhile is lost.
func (s *crashSite) loseBroker(uses int) {
	s.t.Helper()
	if uses > 0 {
		s.backend.end(syscall.SIGKILL)
		defer s.startBackend()
	}
	for range uses {
		s.use()
	}
	s.broker.end(syscall.SIGKILL)
	time.Sleep(time.Duration(s.rnd.IntN(300)) * time.Millisecond)
	s.startBroker()
}

// loseRecords kills the broker when it holds records that the gateway has its
// word for and the backend does not have, one of a session that goes on: more
// records follow the lost ones.
func (s *crashSite) loseRecords() {
	s.t.Helper()
	s.backend.end(syscall.SIGKILL)
	var before uint64
	s.until("the ledger's end", func(st control.Status) bool { before = st.Ledger.End; return true })
	s.until("records of the broker's alone", func(st control.Status) bool {
		runs := slices.ContainsFunc(st.Stations, func(x session.StationStatus) bool { return x.TransactionID != "" })
		if st.Ledger.End == before || !runs {
			s.use()
			return false
		}
		return st.Ledger.Taken == st.Ledger.End
	})
	s.broker.end(syscall.SIGKILL)
	s.startBroker()
	s.startBackend()
}

// use begins a session where a station is free, and ends one where it is not.
func (s *crashSite) use() {
	s.t.Helper()
	st, err := s.status()
	if err != nil || len(st.Stations) == 0 {
		return
	}
	x := st.Stations[s.rnd.IntN(len(st.Stations))]
	charging := x.Kind == session.Charging
	if x.Status == session.Available {
		s.do("/v1/load", control.Load{Station: x.ID, Watts: s.watts(x.ID)})
		if charging && s.rnd.IntN(8) > 0 {
			s.do("/v1/plug", control.Plug{Station: x.ID, On: true})
		}
		s.tap(s.anyBadge(), x.ID)
		return
	}
	switch n := s.rnd.IntN(10); {
	case n < 4 && !charging:
		s.do("/v1/load", control.Load{Station: x.ID})
	case n < 4:
		s.do("/v1/plug", control.Plug{Station: x.ID})
	case n < 7:
		s.tap(masterBadge, x.ID)
	default:
		s.tap(s.anyBadge(), x.ID)
	}
}

// tap holds a badge to a station's reader; the next one there comes when the
// reader has seen it leave.
func (s *crashSite) tap(uid, station string) {
	s.t.Helper()
	reader := map[string]string{"washer": "hall", "dryer": "cellar", "charger": "garage"}[station]
	hold := 120 + s.rnd.Int64N(180)
	select {
	case s.tapped <- struct{}{}:
	default:
	}
	s.do("/v1/tap", control.Tap{Cards: []control.Card{{UID: uid}}, Reader: reader, ForMs: hold})
	time.Sleep(150 * time.Millisecond)
}

// watts is what a machine draws that runs. More than 2 kW, and the world's pulses
// of 80 ms with their pauses would be late on a busy machine.
func (s *crashSite) watts(station string) float64 {
	if station == "washer" {
		return 2000
	}
	return 2000 + float64(s.rnd.IntN(3))*1000
}

func (s *crashSite) anyStation() string {
	return []string{"washer", "dryer", "charger"}[s.rnd.IntN(3)]
}

func (s *crashSite) anyBadge() string {
	if s.rnd.IntN(12) == 0 {
		return unknownBadge
	}
	return string(crashBadges()[s.rnd.IntN(12)].UID)
}

// block publishes a list with some badges blocked or removed, and others back.
func (s *crashSite) block() {
	s.t.Helper()
	all := crashBadges()
	s.badges = nil
	for _, e := range all {
		switch n := s.rnd.IntN(8); {
		case e.UID == masterBadge || n > 1:
		case n == 0:
			e.Status = session.Blocked
		default:
			continue
		}
		s.badges = append(s.badges, e)
	}
	s.push()
}

// rest brings all to an end: machines stop, sessions end, records arrive.
func (s *crashSite) rest() {
	s.t.Helper()
	s.ready()
	s.loseRecords() // once in every story for certain
	s.do("/v1/clock", control.Clock{AheadMs: s.ahead.Milliseconds(), Source: "kernel"})
	s.push()
	for _, st := range []string{"washer", "dryer"} { // what a power cut interrupted must draw to go on
		s.do("/v1/load", control.Load{Station: st, Watts: s.watts(st)})
	}
	s.do("/v1/load", control.Load{Station: "charger"})
	s.do("/v1/plug", control.Plug{Station: "charger"})
	s.until("no session to wait for a clock or a draw", func(st control.Status) bool {
		for _, x := range st.Stations {
			if x.Recovering {
				return false
			}
		}
		return metered(st)
	})
	for _, st := range []string{"washer", "dryer"} {
		s.do("/v1/load", control.Load{Station: st})
	}
	s.until("an end of all sessions", func(st control.Status) bool {
		for _, x := range st.Stations {
			if x.TransactionID != "" || x.Relay {
				return false
			}
		}
		return true
	})
	s.arrive()
	s.read()
	s.gateway.end(syscall.SIGTERM)
	s.backend.end(syscall.SIGTERM)
}

// arrive waits until the backend has acknowledged every record. A backend that
// starts says what it has: so it need not wait an hour for what a broker lost.
func (s *crashSite) arrive() {
	s.t.Helper()
	again := time.Now().Add(5 * time.Second)
	s.until("an acknowledgement of every record", func(st control.Status) bool {
		if time.Now().After(again) {
			again = time.Now().Add(15 * time.Second)
			s.backend.end(syscall.SIGKILL)
			s.startBackend()
		}
		return st.Ledger.Committed == st.Ledger.End
	})
}

// read notes what the gateway says of its meters, once it has read them last.
func (s *crashSite) read() {
	s.t.Helper()
	var st control.Status
	s.until("the last reading of every meter", func(now control.Status) bool {
		st = now
		var w control.World
		if err := s.world.Get(s.t.Context(), "/v1/state", &w); err != nil {
			s.t.Fatal(err)
		}
		for _, x := range now.Stations {
			if x.ID != "washer" && float64(x.Register) < 1000*w.Machines[x.ID].Wh-10 {
				return false
			}
		}
		return true
	})
	for _, x := range st.Stations {
		s.note(audit.Entry{What: "meter", Station: x.ID, Register: int64(x.Register), Unattributed: int64(x.Unattributed)})
	}
}

// until waits for something that the gateway says. What does not come is judged
// by what is missing then.
func (s *crashSite) until(what string, f func(control.Status) bool) {
	s.t.Helper()
	limit := 3 * time.Minute
	if s.end.quick {
		limit = 20 * time.Second
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if st, err := s.status(); err == nil && f(st) {
			return
		}
	}
	if !s.end.quick {
		s.t.Errorf("%s did not come", what)
	}
}
