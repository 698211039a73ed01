package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/mifare"
	"badged/mifare/mifaretest"
	"badged/session"
	"badged/station"
)

// admitted is a card of a kind of mifaretest, as the default policy judges it.
func admitted(t *testing.T, kind, uid string) mifare.Admission {
	t.Helper()
	s, err := mifaretest.Lookup(kind)
	if err != nil {
		t.Fatal(err)
	}
	c := mifare.Card{ATQA: mifare.ATQA(s.ATQA), SAKs: []mifare.SAK{mifare.SAK(s.SAK)}, ATS: s.ATS}
	if err := c.UID.UnmarshalText([]byte(uid)); err != nil {
		t.Fatal(err)
	}
	return mifare.DefaultPolicy().Admit(c)
}

func TestEveryReasonHasATextInEveryLanguage(t *testing.T) {
	reasons := session.Reasons()
	for _, r := range mifare.Reasons() {
		reasons = append(reasons, session.Reason(r))
	}
	for _, r := range reasons {
		texts := map[string]bool{}
		for _, language := range []string{"de", "fr", "it", "en"} {
			cue, ok := station.Lookup(session.Signal{Name: session.SignalRefused, Reason: r, Language: language})
			if !ok || cue.Text == "" || cue.Light == "" {
				t.Errorf("%s in %s: got %+v, %v, want a light and a text of its own", r, language, cue, ok)
			}
			texts[cue.Text] = true
		}
		if len(texts) != 4 {
			t.Errorf("%s: got %d different texts in 4 languages", r, len(texts))
		}
	}
}

func TestVisitsNoticeAnotherKindOfCard(t *testing.T) {
	const uid = "9C599B32"
	for _, tc := range []struct {
		name          string
		before, after string // kinds
		want          bool
	}{
		{"the same card", "classic-1k", "classic-1k", false},
		{"a larger Classic", "classic-1k", "classic-4k", true},
		{"a CPU card with a Classic", "classic-1k", "smartmx-classic", true},
		{"a bank card", "classic-1k", "bank-emv", true},
		{"an ATS that was not asked for before", "classic-1k", "plus-sl1", false},
		{"another ATS", "gen2", "plus-sl1", true},
		{"a stranger's card", "bank-emv", "classic-1k", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cards")
			var v visits
			if err := v.load(path); err != nil {
				t.Fatal(err)
			}
			if err := v.remember(admitted(t, tc.before, uid)); err != nil {
				t.Fatal(err)
			}
			for name, restarted := range map[string]*visits{"at once": &v, "after a restart": {}} {
				if err := restarted.load(path); err != nil {
					t.Fatal(err)
				}
				if got := restarted.changed(admitted(t, tc.after, uid)); got != tc.want {
					t.Errorf("%s: got changed %t, want %t", name, got, tc.want)
				}
			}
		})
	}
}

func TestVisitsWriteOnlyWhatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards")
	var v visits
	v.load(path)
	for range 100 {
		v.remember(admitted(t, "classic-1k", "9C599B32"))
		v.remember(admitted(t, "bank-emv", "A113B341"))
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "9C599B32 08 classic-1k false .\n" {
		t.Errorf("got %q, %v, want one line for the badge, none for the stranger", b, err)
	}
}

func TestVisitsBearABadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards")
	text := "\x00\xff garbage\n04A1B2C3 18 classic-4k false .\n9C599B32 08 clas"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var v visits
	if err := v.load(path); err != nil || len(v.seen) != 1 {
		t.Errorf("got %d visits, %v, want the one that is whole", len(v.seen), err)
	}
	if !v.changed(admitted(t, "classic-1k", "04A1B2C3")) {
		t.Error("got no change from the kind in the file, want one")
	}
}

func TestVisitsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards")
	var v visits
	v.load(path)
	a := admitted(t, "classic-1k", "9C599B32")
	for i := range 3 * maxVisits {
		a.Card.UID, _ = mifare.NewUID([]byte{1, byte(i >> 16), byte(i >> 8), byte(i)})
		if err := v.remember(a); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(b), "\n"); len(v.seen) != maxVisits || len(v.order) != maxVisits || lines > 2*maxVisits {
		t.Errorf("got %d visits and %d lines, want %d and at most %d", len(v.seen), lines, maxVisits, 2*maxVisits)
	}
}

func TestEnrolmentEndsAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d enrolment
		began := time.Now()
		if _, err := d.next(t.Context(), func() {}); !errors.Is(err, errNoBadge) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v, want no badge after a minute", err, time.Since(began))
		}
		if d.take(control.Enrolment{}) {
			t.Error("a later card was taken, want it authorised")
		}
	})
}

func TestEnrolmentIsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d enrolment
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := d.next(ctx, func() {}); first <- err }()
		synctest.Wait()
		if _, err := d.next(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), "try again") {
			t.Errorf("second: got %v, want to be asked to try again", err)
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("first: got %v, want canceled", err)
		}
		go func() { _, err := d.next(t.Context(), func() {}); first <- err }()
		synctest.Wait()
		if !d.take(control.Enrolment{UID: "04A1B2C3"}) || <-first != nil {
			t.Error("the next one got no card, want one")
		}
	})
}

// watch calls f with every event, once begin has run, until f says that it is done.
func (h *house) watch(begin func(), f func(control.Event) bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	done := errors.New("done")
	err := h.ctl.Watch(ctx, begin, func(e control.Event) error {
		if f(e) {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		h.t.Fatalf("what was waited for did not come: %v", err)
	}
}

// tap holds cards to the reader together until f has seen what it waits for, and
// waits until the reader knows that they are gone.
func (h *house) tap(f func(control.Event) bool, cards ...*mifaretest.Card) {
	h.t.Helper()
	h.watch(func() { h.hw.put(cards...) }, f)
	h.hw.take(cards...)
	h.eventually("an empty field", func(s control.Status) bool {
		return len(s.Readers) == 1 && s.Readers[0].Health != nil && s.Readers[0].Health.Held == 0
	})
}

func (b *bench) put(cards ...*mifaretest.Card) {
	for _, c := range cards {
		b.chip.Put(c)
	}
}

func (b *bench) take(cards ...*mifaretest.Card) {
	for _, c := range cards {
		b.chip.Remove(c)
	}
}

func virtual(t testing.TB, kind, uid string) *mifaretest.Card {
	t.Helper()
	s, err := mifaretest.Lookup(kind)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UID.UnmarshalText([]byte(uid)); err != nil {
		t.Fatal(err)
	}
	return mifaretest.New(s)
}

func TestEnrolledBadgeIsNamedAndNotAuthorised(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	for _, tc := range []struct{ kind, uid, verdict, reason string }{
		{"classic-1k", "04A1B2C3", "accept", ""},
		{"desfire-ev1", "0426DF47D83C80", "reject-tcl", "DESFire"},
	} {
		card := virtual(t, tc.kind, tc.uid)
		var got control.Enrolment
		answered := make(chan error, 1)
		ask := func() { go func() { answered <- h.ctl.Post(h.t.Context(), "/v1/enrol", nil, &got) }() }
		h.watch(ask, func(e control.Event) bool {
			switch e.Kind {
			case "enrol":
				h.hw.put(card)
			case "decision":
				t.Errorf("got decision %+v, want none", e)
			}
			return e.Kind == "removed" || e.Kind == "enrolled" && h.gone(card)
		})
		if err := <-answered; err != nil || got.UID != tc.uid || got.Type != tc.kind || got.Verdict != tc.verdict || got.Reason != tc.reason || got.Confidence == "" {
			t.Errorf("%s: got %+v, %v, want its UID, %s %s", tc.kind, got, err, tc.verdict, tc.reason)
		}
	}
	h.tap(func(e control.Event) bool { return e.Kind == "decision" && e.Reason == "NoList" }, virtual(t, "classic-1k", "04A1B2C3"))
}

// gone takes the card away; its removal is still to be waited for.
func (h *house) gone(c *mifaretest.Card) bool {
	h.hw.take(c)
	return false
}

func TestTwoBadgesAreRefusedAndOneIsNamed(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	first, second := virtual(t, "classic-1k", "04A1B2C3"), virtual(t, "classic-4k", "9CFB136D")
	h.tap(func(e control.Event) bool {
		if e.Kind != "decision" {
			return false
		}
		if e.Reason != "MultipleCards" || e.UID != "04A1…C3" && e.UID != "9CFB…6D" || !strings.HasPrefix(e.Type, "classic-") || e.Verdict != "reject-other" {
			t.Errorf("got %+v, want MultipleCards and one of the two", e)
		}
		return true
	}, first, second, virtual(t, "bank-emv", "A113B341"))
	if on, moves := h.hw.relay(); on || moves != 0 {
		t.Errorf("relay %t after %d moves, want none", on, moves)
	}
}

func TestShadowCountsAndDecidesNothing(t *testing.T) {
	h := newHouse(t, nowhere)
	h.cfg.Readers[0].Shadow.Plus = false
	h.start()
	for _, tc := range []struct{ kind, uid, shadow string }{
		{"plus-sl1", "F35201C7", "PlusSL1"}, {"classic-1k", "04A1B2C3", ""}, {"bank-emv", "A113B341", ""},
	} {
		h.tap(func(e control.Event) bool {
			if e.Kind == "card" && e.Shadow != tc.shadow {
				t.Errorf("%s: got shadow %q, want %q", tc.kind, e.Shadow, tc.shadow)
			}
			if e.Kind == "decision" && tc.kind != "bank-emv" && e.Reason != "NoList" {
				t.Errorf("%s: got %+v, want it admitted to the list", tc.kind, e)
			}
			return e.Kind == "decision"
		}, virtual(t, tc.kind, tc.uid))
	}
	h.eventually("the count", func(s control.Status) bool {
		got := s.Readers[0].Shadow
		return got != nil && got.Admitted == 2 && len(got.Refused) == 1 && got.Refused["PlusSL1"] == 1
	})
}

func TestWithoutShadowTheStatusHasNone(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	h.eventually("a reader", func(s control.Status) bool { return len(s.Readers) == 1 && s.Readers[0].Shadow == nil })
}

func TestBadgeThatComesBackAsAnotherCardIsNoted(t *testing.T) {
	h := newHouse(t, nowhere)
	h.start()
	const uid = "5D97B4F5"
	for _, tc := range []struct {
		kind string
		want bool
	}{{"classic-1k", false}, {"classic-1k", false}, {"smartmx-classic", true}, {"classic-1k", true}, {"classic-1k", false}} {
		h.tap(func(e control.Event) bool {
			if got := strings.Contains(strings.Join(e.Notes, " "), "TypeChanged"); e.Kind == "decision" && got != tc.want {
				t.Errorf("%s: got notes %v, want TypeChanged %t", tc.kind, e.Notes, tc.want)
			}
			return e.Kind == "decision"
		}, virtual(t, tc.kind, uid))
	}
}

func TestShadowInTheConfigIsOnlyStricter(t *testing.T) {
	for _, tc := range []struct {
		name, lines string
		shadow      mifare.Policy
		bad         string
	}{
		{"none", "", mifare.Policy{Plus: true}, ""},
		{"table", "[reader.shadow]\nplus = false\n", mifare.Policy{}, ""},
		{"in line", "dual = true\nshadow = { dual = false }\n", mifare.Policy{Plus: true}, ""},
		{"what is left open is as in force", "dual = true\nshadow = { plus = false }\n", mifare.Policy{Dual: true}, ""},
		{"looser", "shadow = { dual = true }\n", mifare.Policy{}, "reader[0].shadow.dual"},
		{"unknown key", "shadow = { desfire = true }\n", mifare.Policy{}, "desfire"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := strings.Replace(benchConfig, "spi = \"/dev/spidev0.0\"\n", "spi = \"/dev/spidev0.0\"\n"+tc.lines, 1)
			c, err := config.Parse(strings.NewReader(doc), "badged.toml")
			switch {
			case tc.bad != "":
				if err == nil || !strings.Contains(err.Error(), tc.bad) || strings.Contains(err.Error(), "badged.toml: ") {
					t.Errorf("got %v, want a problem with %s and its line", err, tc.bad)
				}
			case err != nil:
				t.Error(err)
			case c.Readers[0].Shadow != tc.shadow || c.Readers[0].TellsPlus() == tc.shadow.Plus:
				t.Errorf("got %+v, want %+v", c.Readers[0].Shadow, tc.shadow)
			}
		})
	}
}
