package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/cache/cachetest"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// victim says what a process is to do that is killed meanwhile.
type victim struct {
	Dir, Broker string
	What        string
	Count       int // of badges to push
	Key, Root   jose.JSONWebKey
	At          int // the step at which it kills itself; 0 for none
}

const victimEnv = "BACKEND_VICTIM"

// TestPublisherChild is the victim.
func TestPublisherChild(t *testing.T) {
	var v victim
	if json.Unmarshal([]byte(os.Getenv(victimEnv)), &v) != nil {
		t.Skip("victim of the crash tests")
	}
	p := open(t, v.Dir, backend.BrokerOpts{URL: v.Broker}, v.Key)
	step := 0
	p.FailAt(func(string) {
		if step++; step == v.At {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	if err := v.do(t, p); err != nil {
		t.Fatal(err)
	}
}

// do is what the process does; it may be done again.
func (v victim) do(t *testing.T, p *backend.Publisher) (err error) {
	none := publicOf()
	switch v.What {
	case "push":
		_, err = p.Push(t.Context(), entries(t, badges(0, v.Count)), backend.PushOpts{Force: true})
	case "epoch":
		_, err = p.Push(t.Context(), entries(t, badges(0, v.Count)), backend.PushOpts{NewEpoch: true})
	case "compact":
		_, err = p.Compact(t.Context())
	case "repair":
		_, err = p.Repair(t.Context())
	case "rotate":
		_, err = p.Rotate(t.Context(), backend.RotateOpts{Root: v.Root, Commands: &none})
	default:
		err = errors.New("no such thing: " + v.What)
	}
	return err
}

// never is far later than a victim ends by itself.
const never = time.Minute

// run runs the victim and tells whether it was killed, after a time at the latest.
// Anything else but a good end is an error.
func (v victim) run(t *testing.T, killAfter time.Duration) (killed bool) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), killAfter)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPublisherChild$")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", victimEnv+"="+string(b))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return true // before it began
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return true
	}
	if !cmd.ProcessState.Success() { // err may only say that the time is up, right after the end
		t.Fatalf("%s, killed at step %d: %v: %s", v.What, v.At, err, out)
	}
	return false
}

// town is a broker that remembers what was published, and a gateway that follows
// from the first day.
type town struct {
	t      *testing.T
	v      victim
	keys   []jose.JSONWebKey // all that ever signed, the last one now
	client *follower

	mu    sync.Mutex
	heads [][]byte
}

func newTown(t *testing.T) *town {
	b := broker(t)
	w := &town{t: t, v: victim{Dir: t.TempDir(), Broker: b.URL, What: "push", Count: 10, Key: listKey(t), Root: rootKey(t)}}
	w.keys = []jose.JSONWebKey{w.v.Key}
	c, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "witness", Buffer: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(t.Context(), uplink.ListTopics("desk").Head()); err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		defer c.Close()
		for {
			select {
			case m := <-c.Messages():
				m.Ack()
				w.mu.Lock()
				w.heads = append(w.heads, m.Payload)
				w.mu.Unlock()
			case <-ctx.Done():
				return nil
			}
		}
	})
	w.v.run(t, never)
	w.client = newFollower(t, b, publicOf(w.v.Key), publicOf(w.v.Root))
	w.client.start()
	w.converge()
	return w
}

// converge wants broker, gateway and store to agree on the whole list.
func (w *town) converge() {
	w.t.Helper()
	h, n := w.whole()
	if n != w.v.Count {
		w.t.Fatalf("after %s: got %d badges on the broker, want %d", w.v.What, n, w.v.Count)
	}
	defer func() {
		if w.t.Failed() {
			w.t.Logf("gateway: %+v", w.client.client.State())
		}
	}()
	until(w.t, "the gateway has the version "+fmt.Sprint(h.Epoch, ".", h.Version), func() bool {
		v, err := w.client.list.InForce(w.t.Context())
		return err == nil && v == h.At()
	})
	w.client.mu.Lock()
	defer w.client.mu.Unlock()
	if len(w.client.refused) > 0 {
		w.t.Fatalf("after %s: the gateway refused %q", w.v.What, w.client.refused)
	}
}

// whole wants a whole list on the broker, and no fork ever.
func (w *town) whole() (uplink.Head, int) {
	w.t.Helper()
	all := publicOf(w.keys...)
	h, list, err := backend.Verify(w.t.Context(), backend.BrokerOpts{URL: w.v.Broker}, "desk", all)
	if err != nil {
		w.t.Fatalf("after %s was killed at step %d: %v", w.v.What, w.v.At, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var before uplink.Head
	for _, m := range w.heads {
		h, err := uplink.ParseHead(m, all, "desk")
		if err != nil {
			w.t.Fatal(err)
		}
		if c := h.At().Compare(before.At()); c < 0 || c == 0 && h.Digest != before.Digest {
			w.t.Fatalf("after %s was killed at step %d: head %d.%d %v follows %d.%d %v", w.v.What, w.v.At,
				h.Epoch, h.Version, h.Digest, before.Epoch, before.Version, before.Digest)
		}
		before = h
	}
	return h, len(list)
}

// next makes what comes another thing than what was.
func (w *town) next(what string) {
	w.v.What = what
	switch what {
	case "push", "epoch":
		w.v.Count++
	case "compact": // has something to do only after a push
		w.v.What, w.v.At = "push", 0
		w.v.Count++
		w.v.run(w.t, never)
		w.v.What = what
	case "rotate":
		w.v.Key = listKey(w.t)
		w.keys = append(w.keys, w.v.Key)
	}
}

// again does it in this process, or what comes next of itself: the daily look.
func (w *town) again(what string) {
	w.t.Helper()
	p := open(w.t, w.v.Dir, backend.BrokerOpts{URL: w.v.Broker}, w.v.Key)
	defer p.Close()
	v := w.v
	v.What = what
	if err := v.do(w.t, p); err != nil {
		w.t.Fatalf("%s, after %s was killed at step %d: %v", what, w.v.What, w.v.At, err)
	}
}

// Whenever a publisher is killed, the broker has a whole list that gateways take,
// and doing it again leads to where it would have led.
func TestPublisherKilledAtEveryStep(t *testing.T) {
	for _, what := range []string{"push", "compact", "rotate", "epoch", "repair"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			steps := 0
			for killed := true; killed; steps++ {
				w.next(what)
				w.v.At = steps + 1
				killed = w.v.run(t, never)
				if what == "epoch" { // its pieces have the topics of those before
					w.again("push")
				} else {
					w.whole()
					w.again(what)
				}
				w.converge()
			}
			t.Logf("killed at %d steps", steps-1)
			if steps < 3 {
				t.Errorf("got %d steps, want several", steps)
			}
		})
	}
}

func TestPublisherKilledAtRandom(t *testing.T) {
	w := newTown(t)
	r := rand.New(rand.NewPCG(1, 7))
	for range 12 {
		w.next([]string{"push", "compact", "rotate", "repair"}[r.IntN(4)])
		w.v.At = 0
		w.v.run(t, time.Duration(1+r.IntN(800))*time.Millisecond)
		w.whole()
		w.again(w.v.What)
		w.converge()
	}
}

// On a disk that drops what was not synced, no head ever goes out that the store
// does not know after a power cut: it would make another one of that version.
func TestPublisherSurvivesPowerCuts(t *testing.T) {
	for name, m := range map[string]cachetest.Model{"nothing unsynced survives": {}, "half of it survives": {Keep: 0.5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := cutPublisher(t, m, 12); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPublisherOnALyingDiskIsFoundOut(t *testing.T) {
	if err := cutPublisher(t, cachetest.Model{Lies: true}, 12); err == nil {
		t.Error("got nothing lost on a disk that ignores every sync: this test cannot see a loss")
	}
}

// cutPublisher cuts the power of a store at random, over and over.
func cutPublisher(t *testing.T, m cachetest.Model, cuts int) error {
	dir, b, key := t.TempDir(), broker(t), listKey(t)
	mount := filepath.Join(dir, "desk")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	d := cachetest.New(m)
	r := rand.New(rand.NewPCG(2, m.Seed))
	seen := map[session.ListVersion]bool{}
	for n := range cuts {
		d.CutAfter(1 + r.IntN(60))
		if err := d.Mount(mount); err != nil {
			t.Skip(err)
		}
		err := pushUntilDark(t, dir, b, key, 10+10*n)
		if unmounted := d.Unmount(); unmounted != nil {
			t.Fatal(unmounted)
		}
		if err != nil {
			return fmt.Errorf("cut %d: %w", n, err)
		}
		d.Survive()
		h, _, err := backend.Verify(t.Context(), b, "desk", publicOf(key))
		if err == nil {
			at := h.At()
			at.IssuedAt = time.Time{}
			seen[at] = true
		}
	}
	if len(seen) < cuts/4 {
		t.Errorf("got %d versions in %d lives, want more: nothing was tested", len(seen), cuts)
	}
	return nil
}

// pushUntilDark pushes until the disk is gone. Its error is that of a store that
// does not know any more what it published.
func pushUntilDark(t *testing.T, dir string, b backend.BrokerOpts, key jose.JSONWebKey, count int) error {
	for ; ; count++ {
		p, err := backend.OpenPublisher(dir, "desk", b, key)
		if err != nil {
			return dark(err)
		}
		p.Settle = settle
		_, err = p.Push(t.Context(), entries(t, badges(0, count)), backend.PushOpts{})
		p.Close()
		if err != nil {
			return dark(err)
		}
	}
}

// dark passes over what a disk says that has no power.
func dark(err error) error {
	if slices.ContainsFunc([]error{syscall.EIO, syscall.ENOTCONN}, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}
