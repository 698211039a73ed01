package main_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"badged/cache/cachetest"
	"badged/cmd/badgesim/audit"
)

var (
	cuts = flag.Int("cuts", 24, "cuts of the crash tests, half of them by SIGKILL and half of the power")
	seed = flag.Uint64("seed", 0, "seed of what happens in the crash tests; 0 draws one")
)

// perStory is how many cuts one gateway lives through.
const perStory = 25

// crashSeed is the same for all stories of a run, and printed.
var crashSeed = sync.OnceValue(func() uint64 {
	if *seed != 0 {
		return *seed
	}
	return 1 + rand.Uint64N(1<<31)
})

// end is how a story's gateway dies.
type end struct {
	power bool            // else by SIGKILL
	disk  cachetest.Model // of a power cut
	drop  bool            // the lines fall when the gateway dies
	ack   string          // of the config's broker: who is believed
	quick bool            // nothing is waited for long: it is a control, and not to come out
}

// A gateway that is killed, and one whose power is cut, over and over in the
// midst of all that happens at a site: what the backend has in the end is what
// the world did.
func TestCrashesLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs programs")
	}
	var total audit.Figures
	var mu sync.Mutex
	began := time.Now()
	t.Cleanup(func() { // after the parallel stories
		t.Logf("%v; in %v, seed %d", total, time.Since(began).Round(time.Second), crashSeed())
	})
	stories := max(2, (*cuts+perStory-1)/perStory) // one of each kind at least
	for n := range stories {
		e := end{power: n%2 == 1, drop: n%4 == 2, ack: "backend"}
		if e.power {
			e.drop = true
			e.disk = cachetest.Model{Keep: float64(n/2%2) / 2}
		}
		share := *cuts*(n+1)/stories - *cuts*n/stories
		t.Run(fmt.Sprintf("story %d, power %v, lines drop %v", n, e.power, e.drop), func(t *testing.T) {
			t.Parallel()
			findings, figures := play(t, e, uint64(n), share)
			for _, f := range findings {
				t.Error(f)
			}
			if figures.Ledgers != 1 {
				t.Errorf("got %d ledgers, want the one that the gateway began with", figures.Ledgers)
			}
			mu.Lock()
			defer mu.Unlock()
			total.Add(figures)
		})
	}
}

// controlStories is how often a control may get away with it: by chance a cut
// falls where there was nothing to lose.
const controlStories = 5

// The controls: what must be found out, or the stories prove nothing.
func TestCrashControls(t *testing.T) {
	if testing.Short() {
		t.Skip("runs programs")
	}
	for n, c := range []struct {
		name string
		end  end
	}{
		{"a disk that ignores fsync", end{power: true, drop: true, disk: cachetest.Model{Keep: 0.5, Lies: true}, ack: "backend"}},
		{"a backend that acknowledges nothing, and a gateway that takes the broker's word", end{ack: "broker"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.end.quick = true
			for story := range controlStories {
				findings, _ := play(t, c.end, uint64(1e6+controlStories*n+story), 5)
				if len(findings) > 0 {
					t.Logf("found, among others: %v", findings[0])
					return
				}
			}
			t.Errorf("got nothing found out in %d stories, want losses", controlStories)
		})
	}
}

// play lets a story happen and judges it. What it leaves behind stays where
// something was found that should not be.
func play(t *testing.T, e end, n uint64, cuts int) ([]audit.Finding, audit.Figures) {
	t.Helper()
	dir, err := os.MkdirTemp("", "badged-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after all of the site is gone
		if t.Failed() {
			t.Logf("seed %d; logs, store and the world's log are in %s", crashSeed(), dir)
			return
		}
		os.RemoveAll(dir)
	})
	s := newCrashSite(t, dir, e, rand.New(rand.NewPCG(crashSeed(), n)))
	for range cuts {
		s.boot()
		s.live()
	}
	s.boot()
	lived := time.Now()
	s.rest()
	t.Logf("came to rest in %v", time.Since(lived).Round(time.Second))
	log := s.written()
	records, err := audit.ReadStore(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	findings, figures := audit.Check(s.judged(), records, log)
	t.Log(figures)
	return findings, figures
}
