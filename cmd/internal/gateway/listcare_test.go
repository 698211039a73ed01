package gateway

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/session"
)

// manyBadges is a list whose file is long enough to be damaged in part.
func manyBadges(n int) string {
	var csv strings.Builder
	csv.WriteString("uid,account\n")
	for i := range n {
		fmt.Fprintf(&csv, "04%012X,r-%d\n", i*7919, i)
	}
	return csv.String()
}

// A list that is damaged while the gateway works answers what it can; it is put
// aside and comes again without a restart as soon as there is a broker. The ledger
// is not touched.
func TestListDamagedInUse(t *testing.T) {
	t.Parallel()
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	p := &power{house: newHouseOf(t, benchConfig, broker), stop: func() {}}
	const n = 5000
	p.push(broker, manyBadges(n))
	c, _ := boot("boot-1", noon)
	p.boot(c)
	p.eventually("the list", func(s control.Status) bool { return s.List.Count == n })
	p.stop() // so that nothing is in the log any more
	there := p.cfg.Broker.URL
	p.cfg.Broker.URL = mustParse(t, nowhere)
	p.boot(c)
	var ledger string
	p.eventually("a ledger", func(s control.Status) bool { ledger = s.Ledger.Ledger; return ledger != "" })
	if err := cachetest.Wreck(filepath.Join(p.cfg.State, "list.db")); err != nil {
		t.Fatal(err)
	}

	if err := p.ctl.Post(t.Context(), "/v1/doctor", control.Examination{}, nil); err != nil {
		t.Fatal(err)
	}
	p.eventually("the damage told", func(s control.Status) bool { return hasFault(s, "list file: damaged") })
	if got := p.decide("04000000000000"); got.Status != string(session.Accepted) {
		t.Errorf("a badge that can be read: got %s %s, want Accepted", got.Status, got.Reason)
	}
	if got := p.decide("04FFFFFFFFFF01"); got.Reason != string(session.ListUnreadable) {
		t.Errorf("a badge that is not found: got %s %s, want ListUnreadable", got.Status, got.Reason)
	}
	p.stop()

	p.cfg.Broker.URL = there
	p.boot(c)
	if err := p.ctl.Post(t.Context(), "/v1/doctor", control.Examination{}, nil); err != nil {
		t.Fatal(err)
	}
	p.eventually("the list again", func(s control.Status) bool {
		return hasFault(s, "list replaced") && !hasFault(s, "list file") && s.List.Count == n && s.List.State == "current"
	})
	p.eventually("the same ledger", func(s control.Status) bool { return s.Ledger.Ledger == ledger })
	if got := p.decide("04FFFFFFFFFF01"); got.Reason != string(session.UnknownBadge) {
		t.Errorf("a badge that is on no list: got %s %s, want UnknownBadge", got.Status, got.Reason)
	}
}

func hasFault(s control.Status, prefix string) bool {
	for _, f := range s.Faults {
		if strings.HasPrefix(f, prefix) {
			return true
		}
	}
	return false
}

func TestAgeOfTheList(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		clock  session.ClockQuality
		issued time.Time
		ran    time.Duration // since the head, by our own running
		want   string        // in the words, "" for none
	}{
		"fresh":                            {session.ClockSynced, noon.Add(-day), 40 * day, ""},
		"old":                              {session.ClockSynced, noon.Add(-31 * day), day, "744h0m0s old"},
		"old, and nobody knows the time":   {session.ClockUnknown, noon, 31 * day, "744h0m0s old"},
		"fresh, and nobody knows the time": {session.ClockUnknown, noon.Add(-100 * day), day, ""},
		"a little ahead":                   {session.ClockSynced, noon.Add(time.Minute), 40 * day, ""},
		"from the future":                  {session.ClockSynced, noon.Add(365 * day), day, "8760h0m0s in the future"},
		"from the future, and old":         {session.ClockSynced, noon.Add(365 * day), 31 * day, "744h0m0s old"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &gateway{cfg: config.Config{List: config.List{MaxAge: 30 * day}}}
			now := session.Stamp{Up: 50 * day, Wall: noon, Clock: c.clock}
			g.headAt.Store(int64(now.Up - c.ran))
			got := strings.Join(g.staleList(session.ListVersion{IssuedAt: c.issued}, now), "\n")
			if !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// The age goes on where an earlier run left it: a gateway that is switched off
// every night must notice too.
func TestAgeOfTheListSurvivesARestart(t *testing.T) {
	t.Parallel()
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	p := &power{house: newHouseOf(t, benchConfig, broker), stop: func() {}}
	p.push(broker, "uid,account\n04A1B2C3,r-1\n")
	c, _ := boot("boot-1", time.Time{})
	p.boot(c)
	p.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
	p.stop()
	list := openState(t, p.cfg.State)
	if err := list.SetRan(t.Context(), p.cfg.List.MaxAge+time.Hour); err != nil {
		t.Fatal(err)
	}
	list.Close()
	there := p.cfg.Broker.URL
	p.cfg.Broker.URL = mustParse(t, nowhere)
	for n := range 2 {
		c, _ = boot(fmt.Sprint("boot-", n+2), time.Time{})
		p.boot(c)
		p.eventually("a word about its age", func(s control.Status) bool { return hasFault(s, "list: the newest head is") })
		p.stop()
	}
	p.cfg.Broker.URL = there
	p.push(broker, "uid,account\n04A1B2C3,r-2\n")
	p.boot(c)
	p.eventually("a new head, and no word", func(s control.Status) bool { return s.List.Version == 2 && !hasFault(s, "list:") })
}

func openState(t *testing.T, state string) *cache.List {
	t.Helper()
	l, err := cache.OpenList(filepath.Join(state, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
