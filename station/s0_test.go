package station_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"badged/session"
	"badged/station"
)

// wire is an Input whose edges the test makes. Its time starts at 100 s.
type wire struct {
	edges chan station.Edge
	seq   uint32
	now   time.Duration
	fail  chan error

	mu     sync.Mutex
	active bool
	err    error
}

func newWire() *wire {
	return &wire{edges: make(chan station.Edge), now: 100 * time.Second, fail: make(chan error, 1)}
}

func (w *wire) Active() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active, w.err
}

// set is what Active says from now on.
func (w *wire) set(active bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active, w.err = active, err
}

func (w *wire) Close() error { return nil }

func (w *wire) Edges(ctx context.Context, f func(station.Edge)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.fail:
			return err
		case e := <-w.edges:
			f(e)
		}
	}
}

// to changes the level after d.
func (w *wire) to(active bool, d time.Duration) {
	w.now += d
	w.seq++
	w.set(active, nil)
	w.edges <- station.Edge{Active: active, At: w.now, Seq: w.seq}
}

// pulse is a clean one: 900 ms of pause, and d of activity.
func (w *wire) pulse(d time.Duration) {
	w.to(true, 900*time.Millisecond)
	w.to(false, d)
}

// count runs a meter on w while f plays, and returns its samples.
func count(t *testing.T, w *wire, o station.S0Opts, f func()) (samples []station.Sample, err error) {
	t.Helper()
	m, err := station.NewS0(w, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, func(s station.Sample) { samples = append(samples, s) }) }()
	synctest.Wait()
	f()
	synctest.Wait()
	stop()
	return samples, <-done
}

func TestS0CountsPulsesAndNothingElse(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		play func(w *wire)
		want session.MilliWattHours // above 5000, at 1000 pulses a kWh
	}{
		"nothing":           {func(w *wire) {}, 0},
		"three pulses":      {func(w *wire) { w.pulse(30 * ms); w.pulse(90 * ms); w.pulse(120 * ms) }, 3000},
		"shortest pulse":    {func(w *wire) { w.pulse(20 * ms) }, 1000},
		"a spike":           {func(w *wire) { w.pulse(2 * ms); w.pulse(19 * ms) }, 0},
		"bounce at the end": {func(w *wire) { w.pulse(30 * ms); w.to(true, ms); w.to(false, ms); w.pulse(30 * ms) }, 2000},
		"bounce at the start": {func(w *wire) {
			w.to(true, 900*ms)
			w.to(false, ms)
			w.to(true, ms)
			w.to(false, 30*ms)
			w.pulse(30 * ms)
		}, 2000},
		"a gap in the middle": {func(w *wire) {
			w.to(true, 900*ms)
			w.to(false, 30*ms)
			w.to(true, 2*ms)
			w.to(false, 30*ms)
			w.pulse(30 * ms)
		}, 2000},
		"a spike in the pause": {func(w *wire) {
			w.pulse(30 * ms)
			w.pulse(1 * ms)
			w.pulse(30 * ms)
		}, 2000},
		"an edge whose level was read late": {func(w *wire) {
			w.to(true, 900*ms)
			w.to(true, ms)
			w.to(false, 30*ms)
		}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				o := station.DefaultS0Opts
				o.Start = 5000
				samples, err := count(t, w, o, func() { tt.play(w) })
				if err != nil {
					t.Errorf("run: got %v, want nil", err)
				}
				last := samples[len(samples)-1]
				if got, want := last.Register, 5000+tt.want; got != want {
					t.Errorf("register: got %d mWh, want %d", got, want)
				}
				for _, s := range samples {
					if s.Err != nil || s.Doubt != nil {
						t.Errorf("sample: got %v, %v, want neither error nor doubt", s.Err, s.Doubt)
					}
				}
			})
		})
	}
}

func TestS0RegisterDoesNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		o := station.DefaultS0Opts
		o.PulsesPerKWh = 3 // 333333.33 mWh each
		samples, _ := count(t, w, o, func() {
			for range 300 {
				w.pulse(30 * time.Millisecond)
			}
		})
		if got, want := samples[len(samples)-1].Register, session.MilliWattHours(100_000_000); got != want {
			t.Errorf("300 pulses at 3 a kWh: got %d mWh, want %d", got, want)
		}
	})
}

func TestS0IsHeardOfWithoutPulses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		samples, _ := count(t, newWire(), station.DefaultS0Opts, func() { time.Sleep(time.Minute) })
		if len(samples) != 7 {
			t.Errorf("got %d samples in a minute, want 7", len(samples))
		}
	})
}

func TestS0SaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		play func(w *wire)
		want string // in some sample
		lost bool   // as an error, not as a doubt
	}{
		"queue overflow": {func(w *wire) { w.pulse(30 * time.Millisecond); w.seq += 7; w.pulse(30 * time.Millisecond) }, "lost 7 edges", false},
		"chatter": {func(w *wire) {
			for range 200 {
				w.to(true, time.Millisecond)
				w.to(false, time.Millisecond)
			}
			time.Sleep(11 * time.Second)
		}, "chatters", false},
		"always active": {func(w *wire) { w.to(true, time.Second); time.Sleep(time.Minute) }, "always active", true},
		"unreadable":    {func(w *wire) { w.set(false, errors.New("gone")); time.Sleep(time.Minute) }, "read S0 input: gone", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				samples, err := count(t, w, station.DefaultS0Opts, func() { tt.play(w) })
				if err != nil {
					t.Errorf("run: got %v, want nil", err)
				}
				found := false
				for _, s := range samples {
					said := s.Doubt
					if tt.lost {
						said = s.Err
					}
					found = found || said != nil && strings.Contains(said.Error(), tt.want)
					if s.Err != nil && !tt.lost {
						t.Errorf("got %v, want a doubt: the meter is still heard", s.Err)
					}
				}
				if !found {
					t.Errorf("got %v, want a sample with %q", samples, tt.want)
				}
			})
		})
	}
}

func TestS0CountsOnAfterAnOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		samples, _ := count(t, w, station.DefaultS0Opts, func() {
			w.pulse(30 * time.Millisecond)
			w.seq += 4
			w.pulse(30 * time.Millisecond)
			w.pulse(30 * time.Millisecond)
		})
		if got, want := samples[len(samples)-1].Register, session.MilliWattHours(3000); got != want {
			t.Errorf("got %d mWh, want %d: the three that were seen", got, want)
		}
	})
}

func TestS0EndsWhenItsLineFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		samples, err := count(t, w, station.DefaultS0Opts, func() {
			w.fail <- errors.New("chip removed")
			synctest.Wait()
		})
		if err == nil || samples[len(samples)-1].Err == nil {
			t.Errorf("got %v and last sample %v, want an error in both", err, samples[len(samples)-1])
		}
	})
}

func TestNewS0Refuses(t *testing.T) {
	for name, o := range map[string]station.S0Opts{
		"no pulses":       {PulsesPerKWh: 0, Alive: time.Second},
		"negative pulses": {PulsesPerKWh: -1000, Alive: time.Second},
		"no alive":        {PulsesPerKWh: 1000},
	} {
		if _, err := station.NewS0(newWire(), o); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
}
