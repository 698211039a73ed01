package station_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
	"badged/station"
)

// lamp is an Output that remembers when it was on.
type lamp struct {
	start time.Time
	log   []string
	on    bool
	err   error
}

func newLamp() *lamp { return &lamp{start: time.Now()} }

func (l *lamp) Set(on bool) error {
	if l.err != nil {
		return l.err
	}
	if on != l.on {
		l.on = on
		l.log = append(l.log, map[bool]string{true: "on ", false: "off "}[on]+time.Since(l.start).String())
	}
	return nil
}

func (l *lamp) Close() error { return nil }

// screen is a Screen that remembers its texts.
type screen struct {
	mu    sync.Mutex
	texts []string
	err   error
}

func (s *screen) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *screen) shown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

func (s *screen) Show(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.texts = append(s.texts, text)
	}
	return s.err
}

func last(texts []string) string { return texts[len(texts)-1] }

// run plays the panel for d while f tells it what to show.
func run(t *testing.T, p *station.Panel, d time.Duration, f func()) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	synctest.Wait()
	f()
	time.Sleep(d) // of the bubble's clock
	stop()
	if err := <-done; err != nil {
		t.Errorf("run: got %v, want nil", err)
	}
}

func TestPanelPlaysLightSoundAndText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		green, buzzer, s := newLamp(), newLamp(), &screen{}
		p := station.NewPanel(station.PanelOpts{Green: green, Buzzer: buzzer, Screen: s, Language: "it"})
		run(t, p, 3*time.Second, func() { p.Show(session.Signal{Name: session.SignalEnded, Station: "lavatrice", Energy: 1234}) })
		if got, want := strings.Join(buzzer.log, ","), "on 0s,off 200ms,on 400ms,off 600ms"; got != want {
			t.Errorf("buzzer: got %s, want %s", got, want)
		}
		// The first "on" and "off" at 0 s are the heartbeat's, cut short.
		if got, want := strings.Join(green.log, ","), "on 0s,off 400ms,on 600ms,off 1s,on 1.2s,off 1.6s"; !strings.HasSuffix(got, want) {
			t.Errorf("green: got %s, want %s", got, want)
		}
		if got, want := s.shown(), []string{"Mostrare il badge", "lavatrice terminato: 1,23 kWh"}; !slices.Equal(got, want) {
			t.Errorf("texts: got %q, want %q", got, want)
		}
	})
}

func TestPanelShowsANewSignalAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		red, green, s := newLamp(), newLamp(), &screen{}
		p := station.NewPanel(station.PanelOpts{Green: green, Red: red, Screen: s, Language: "en"})
		run(t, p, 2500*time.Millisecond, func() {
			p.Show(session.Signal{Name: session.SignalRefused, Reason: session.UnknownBadge})
			p.Show(session.Signal{Name: session.SignalStarted, Station: "washer"})
		})
		if got, want := strings.Join(red.log, ","), "on 0s,off 1s"; got != want {
			t.Errorf("red: got %s, want %s", got, want)
		}
		if got, want := green.log[len(green.log)-2], "on 1s"; got != want {
			t.Errorf("green: got %v, want %s", green.log, want)
		}
		if got, want := s.shown(), []string{"Show your badge", "Unknown badge", "washer is on"}; !slices.Equal(got, want) {
			t.Errorf("texts: got %q, want %q", got, want)
		}
	})
}

func TestPanelSaysThatAnAnswerIsOnItsWayOnlyIfItTakesLong(t *testing.T) {
	for name, tc := range map[string]struct {
		takes time.Duration
		want  []string
	}{
		"at once": {0, []string{"Show your badge", "washer is on"}},
		"soon":    {250 * time.Millisecond, []string{"Show your badge", "washer is on"}},
		"late":    {2 * time.Second, []string{"Show your badge", "One moment, please", "washer is on"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &screen{}
				p := station.NewPanel(station.PanelOpts{Screen: s, Language: "en"})
				run(t, p, 3500*time.Millisecond, func() {
					p.Show(session.Signal{Name: session.SignalProcessing})
					time.Sleep(tc.takes)
					p.Show(session.Signal{Name: session.SignalStarted, Station: "washer"})
					time.Sleep(10 * time.Millisecond)
					if got := last(s.shown()); got != "washer is on" {
						t.Errorf("got %q right after the answer, want the answer", got)
					}
				})
				if got := s.shown(); !slices.Equal(got, tc.want) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestPanelStopsWaitingForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{}
		p := station.NewPanel(station.PanelOpts{Screen: s, Language: "en"})
		run(t, p, 20*time.Second, func() { p.Show(session.Signal{Name: session.SignalProcessing}) })
		if got, want := s.shown(), []string{"Show your badge", "One moment, please", "Show your badge"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestOccupiedSaysWhenItIsFree(t *testing.T) {
	for language, want := range map[string]string{
		"de": "washer ist besetzt, frei in 25 min", "fr": "washer est occupé, libre dans 25 min",
		"it": "washer è occupato, libero fra 25 min", "en": "washer is in use, free in 25 min",
	} {
		sig := session.Signal{Name: session.SignalRefused, Reason: session.StationOccupied, Station: "washer", Language: language}
		if cue, _ := station.Lookup(sig); strings.Contains(cue.Text, "min") || strings.Contains(cue.Text, "{") {
			t.Errorf("%s: got %q while nobody knows when, want no time", language, cue.Text)
		}
		sig.FreeIn = 24*time.Minute + time.Second
		if cue, _ := station.Lookup(sig); cue.Text != want {
			t.Errorf("%s: got %q, want %q", language, cue.Text, want)
		}
	}
}

func TestPanelKeepsATextThenReturnsToIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{}
		p := station.NewPanel(station.PanelOpts{Screen: s, Language: "en"})
		run(t, p, 10*time.Second, func() {
			p.Show(session.Signal{Name: session.SignalStarted, Station: "washer"})
			time.Sleep(1500 * time.Millisecond)
			p.Show(session.Signal{Name: session.SignalOffline}) // must not cut the resident's text
			time.Sleep(2400 * time.Millisecond)
			if got, want := last(s.shown()), "washer is on"; got != want {
				t.Errorf("after 3.9 s: got %q, want %q", got, want)
			}
		})
		if got, want := last(s.shown()), "Show your badge (no network)"; got != want {
			t.Errorf("at last: got %q, want %q", got, want)
		}
	})
}

func TestPanelNeverBlocks(t *testing.T) {
	p := station.NewPanel(station.PanelOpts{})
	for range 1000 { // nobody plays
		p.Show(session.Signal{Name: session.SignalBlink})
	}
}

func TestPanelReportsFaultsOncePerChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		red, s := newLamp(), &screen{err: errors.New("i2c: no answer")}
		var faults []error
		p := station.NewPanel(station.PanelOpts{Red: red, Screen: s, Fault: func(err error) { faults = append(faults, err) }})
		run(t, p, 10*time.Second, func() {
			p.Show(session.Signal{Name: session.SignalFault})
			time.Sleep(5 * time.Second)
			s.fail(nil)
		})
		if len(faults) != 2 || faults[0] == nil || faults[1] != nil {
			t.Errorf("faults: got %v, want one and its end", faults)
		}
		if len(red.log) < 10 {
			t.Errorf("red: got %d changes, want it to go on without the screen", len(red.log))
		}
		if red.on {
			t.Error("red: got on after the end, want off")
		}
	})
}

func TestCatalogueHasEveryReasonInEveryLanguage(t *testing.T) {
	signals := []session.Signal{
		{Name: session.SignalStarted}, {Name: session.SignalEnded}, {Name: session.SignalSelected},
		{Name: session.SignalRefused}, {Name: session.SignalTest}, {Name: session.SignalReady},
		{Name: session.SignalOffline}, {Name: session.SignalFault}, {Name: session.SignalBlink},
		{Name: session.SignalEnrolled},
	}
	cards := []session.Reason{ // of package mifare, which this one does not import
		"DualInterface", "PlusSL1", "TNP3xxx", "PlusSL2", "DESFire", "Ultralight", "TCL", "RandomUID", "NFCDEP",
		"Unsupported", "Malformed"}
	for _, r := range append(session.Reasons(), cards...) {
		signals = append(signals, session.Signal{Name: session.SignalRefused, Reason: r})
	}
	for _, s := range signals {
		texts := map[string]bool{}
		for _, s.Language = range []string{"de", "fr", "it", "en"} {
			cue, ok := station.Lookup(s)
			if !ok {
				t.Errorf("%s %s: got no row, want one", s.Name, s.Reason)
				break
			}
			if strings.Trim(cue.Light, "GRY.") != "" || cue.Light == "" || strings.Trim(cue.Sound, "#.") != "" {
				t.Errorf("%s %s: got light %q and sound %q, want only the signs", s.Name, s.Reason, cue.Light, cue.Sound)
			}
			if cue.Text == "" || strings.Contains(cue.Text, "{") {
				t.Errorf("%s %s %s: got text %q", s.Name, s.Reason, s.Language, cue.Text)
			}
			texts[cue.Text] = true
		}
		if len(texts) != 4 {
			t.Errorf("%s %s: got %d texts for 4 languages: %v", s.Name, s.Reason, len(texts), texts)
		}
	}
}

func TestNoSignalHasNoCue(t *testing.T) {
	if cue, ok := station.Lookup(session.Signal{}); ok || cue != (station.Cue{}) {
		t.Errorf("got %+v, %t, want nothing: the catalogue's comments are no rows", cue, ok)
	}
}

func TestLookupFallsBack(t *testing.T) {
	cue, ok := station.Lookup(session.Signal{Name: session.SignalRefused, Reason: "Sunspots", Language: "de"})
	if ok || cue.Text != "Badge abgelehnt" || cue.Light == "" {
		t.Errorf("unknown reason: got %+v, %v, want a refusal without a reason, false", cue, ok)
	}
	cue, ok = station.Lookup(session.Signal{Name: session.SignalReady, Language: "rm"})
	if !ok || cue.Text != "Show your badge" {
		t.Errorf("unknown language: got %+v, %v, want English", cue, ok)
	}
	if cue, ok = station.Lookup(session.Signal{Name: "Coffee"}); ok || cue != (station.Cue{}) {
		t.Errorf("unknown signal: got %+v, %v, want nothing", cue, ok)
	}
}

func TestEnergyIsWrittenAsPeopleReadIt(t *testing.T) {
	for language, want := range map[string]string{"de": "w beendet: 0,01 kWh", "en": "w finished: 0.01 kWh"} {
		cue, _ := station.Lookup(session.Signal{Name: session.SignalEnded, Station: "w", Energy: 6, Language: language})
		if cue.Text != want {
			t.Errorf("%s: got %q, want %q", language, cue.Text, want)
		}
	}
}
