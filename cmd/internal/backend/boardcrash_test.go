package backend_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/cache"
	"badged/cache/cachetest"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// lives is how many lists a board takes over while its power is cut.
var lives = flag.Int("lives", 6, "lists taken over under power cuts, per model of the disk")

// crowd is how many badges the lists of these tests may have: a snapshot of two
// chunks.
const crowd = 3000

// board is a gateway's process, as far as the list goes: both files of its state,
// and the way here. A process of its own can be killed, and sees a disk fail.
type board struct {
	Dir, Broker string
	Keys        jose.JSONWebKeySet
	Want        session.ListVersion // ends when this is in force; the zero value only looks
	At          int                 // the step at which it kills itself; 0 for none
}

// seen is what a board says at its end.
type seen struct {
	Version session.ListVersion
	Head    session.ListVersion // the highest that the ledger knows of
	Content string              // of the list in force
	Lost    string              // which file was put aside
	Dark    string              // how the disk failed
}

const boardEnv = "BACKEND_BOARD"

// TestBoardChild is the board.
func TestBoardChild(t *testing.T) {
	var b board
	if json.Unmarshal([]byte(os.Getenv(boardEnv)), &b) != nil {
		t.Skip("gateway of the crash tests")
	}
	out, err := b.live(t.Context())
	if err != nil {
		out.Dark = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		t.Fatal(err)
	}
}

// live fetches the list, tidies up behind it, and tells what is in force.
func (b board) live(ctx context.Context) (out seen, err error) {
	list, err := cache.OpenList(filepath.Join(b.Dir, "list.db"))
	if err != nil {
		return out, err
	}
	defer list.Close()
	ledger, err := cache.OpenLedger(filepath.Join(b.Dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1", Reserve: 4096,
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }})
	if err != nil {
		return out, err
	}
	defer ledger.Close()
	out.Lost = list.Recovered() + ledger.Recovered()
	if b.Want.Version > 0 {
		if err := b.fetch(ctx, list, ledger); err != nil {
			return out, err
		}
	}
	if out.Version, err = list.InForce(ctx); err != nil {
		return out, err
	}
	if out.Head, err = ledger.HighestHead(ctx, "desk"); err != nil {
		return out, err
	}
	out.Content, err = content(ctx, list)
	return out, errors.Join(err, list.Check(ctx))
}

// content stands for all that lookups answer.
func content(ctx context.Context, list *cache.List) (string, error) {
	sum := sha256.New()
	for i := range crowd {
		l, err := list.Lookup(ctx, person(i, 0).UID)
		if err != nil {
			return "", err
		}
		if l.Found {
			fmt.Fprintln(sum, l.Entry.UID, l.Entry.Account, l.Entry.Status)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// contentOf is what content should say.
func contentOf(list []session.Entry) string {
	sum := sha256.New()
	for _, e := range list {
		fmt.Fprintln(sum, e.UID, e.Account, e.Status)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// person is badge i in its nth form.
func person(i, n int) session.Entry {
	return session.Entry{UID: session.IDToken(fmt.Sprintf("%08X", i)), Status: session.Accepted, Account: fmt.Sprint("r-", i, "-", n)}
}

// people are n badges, of which every step'th has another form.
func people(n, form, step int) []session.Entry {
	var all []session.Entry
	for i := range n {
		e := person(i, 0)
		if i%step == 0 {
			e = person(i, form)
		}
		all = append(all, e)
	}
	return all
}

func (b board) fetch(ctx context.Context, list *cache.List, ledger *cache.Ledger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the list did not come within a minute"))
	defer cancel()
	var failed atomic.Value
	s := &steps{list, ledger, func() {}}
	var step atomic.Int64
	s.step = func() {
		if step.Add(1) == int64(b.At) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	c, err := uplink.New(uplink.Opts{Gateway: "gw-1", Broker: uplink.Broker{URL: b.Broker}, List: "desk", Keys: b.Keys,
		Store: s, Ratchet: s, Outbox: ledger, ListPatience: 300 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 50 * time.Millisecond,
		OnList: func(e uplink.ListEvent) {
			if e.Reason != nil && strings.Contains(e.Reason.Error(), "disk I/O error") {
				failed.Store(e.Reason)
			}
		}})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	for {
		if err, ok := failed.Load().(error); ok {
			return err
		}
		if v, err := list.InForce(ctx); err != nil || v == b.Want {
			break
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for more := true; more; {
		s.step()
		if more, err = list.Tidy(ctx); err != nil {
			return err
		}
	}
	return nil
}

// steps are the stores of a gateway, with a step before and after each change.
type steps struct {
	*cache.List
	ratchet *cache.Ledger
	step    func()
}

func (s *steps) do(f func() error) error {
	s.step()
	err := f()
	s.step()
	return err
}

func (s *steps) ApplyDeltas(ctx context.Context, from, to session.ListVersion, d []session.Delta) error {
	return s.do(func() error { return s.List.ApplyDeltas(ctx, from, to, d) })
}
func (s *steps) Stage(ctx context.Context, to session.ListVersion, n int, e []session.Entry) error {
	return s.do(func() error { return s.List.Stage(ctx, to, n, e) })
}
func (s *steps) Activate(ctx context.Context, to session.ListVersion, n int) error {
	return s.do(func() error { return s.List.Activate(ctx, to, n) })
}
func (s *steps) Refresh(ctx context.Context, to session.ListVersion) error {
	return s.do(func() error { return s.List.Refresh(ctx, to) })
}
func (s *steps) Discard(ctx context.Context) error {
	return s.do(func() error { return s.List.Discard(ctx) })
}
func (s *steps) RaiseHead(ctx context.Context, v session.ListVersion) error {
	return s.do(func() error { return s.ratchet.RaiseHead(ctx, v) })
}
func (s *steps) HighestHead(ctx context.Context, list string) (session.ListVersion, error) {
	return s.ratchet.HighestHead(ctx, list)
}

// run lives the board's life in a process of its own.
func (b board) run(t *testing.T) (out seen, killed bool) {
	t.Helper()
	arg, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBoardChild$")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", boardEnv+"="+string(arg))
	answer, err := cmd.Output()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return out, true
	}
	line, _, _ := strings.Cut(string(answer), "\n")
	if err == nil {
		err = json.Unmarshal([]byte(line), &out)
	}
	if err != nil {
		t.Fatalf("board killed at step %d: %v: %s", b.At, err, answer)
	}
	return out, false
}

// shelf is a publisher with the content of every version that it published.
type shelf struct {
	t        *testing.T
	p        *backend.Publisher
	b        backend.BrokerOpts
	key      jose.JSONWebKey
	contents map[string]string // by epoch.version
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t, b: broker(t), key: listKey(t), contents: map[string]string{"0.0": contentOf(nil)}}
	s.p = open(t, t.TempDir(), s.b, s.key)
	return s
}

func at(v session.ListVersion) string { return fmt.Sprint(v.Epoch, ".", v.Version) }

func (s *shelf) head() session.ListVersion {
	s.t.Helper()
	h, err := backend.Show(s.t.Context(), s.b, "desk", publicOf(s.key))
	if err != nil {
		s.t.Fatal(err)
	}
	return h.At()
}

func (s *shelf) push(list []session.Entry, o backend.PushOpts) {
	s.t.Helper()
	o.Force = true
	if _, err := s.p.Push(s.t.Context(), list, o); err != nil {
		s.t.Fatal(err)
	}
	s.contents[at(s.head())] = contentOf(list)
}

// whole wants a version that was published, all of it, that is one of two; and that
// the ledger knows its head, or a later one, by its digest.
func (s *shelf) whole(got seen, old, next session.ListVersion) {
	s.t.Helper()
	if got.Lost != "" || got.Dark != "" {
		s.t.Fatalf("got %+v, want both files well", got)
	}
	if v := at(got.Version); v != at(old) && v != at(next) || got.Content != s.contents[v] {
		s.t.Fatalf("got version %s with content %.8s, want %s or %s, whole", v, got.Content, at(old), at(next))
	}
	if got.Head.Compare(got.Version) < 0 || at(got.Head) == at(got.Version) && got.Head.Digest != got.Version.Digest ||
		at(got.Head) == at(next) && got.Head.Digest != next.Digest {
		s.t.Fatalf("got head %+v kept, want that of %+v or %+v", got.Head, got.Version, next)
	}
}

// Whenever a gateway is killed on the way from one list to the next, the list in
// force is one of the two, whole, and the next life brings it to the new one.
func TestGatewayKilledAtEveryStepOfASync(t *testing.T) {
	for what, change := range map[string]func(s *shelf){
		"snapshot":  func(s *shelf) { s.push(people(crowd, 1, 1), backend.PushOpts{}) },
		"deltas":    func(s *shelf) { s.push(people(crowd-100, 1, 2), backend.PushOpts{}) },
		"new epoch": func(s *shelf) { s.push(people(crowd, 2, 3), backend.PushOpts{NewEpoch: true}) },
		"refresh": func(s *shelf) {
			if _, err := s.p.Repair(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		},
		"all gone": func(s *shelf) { s.push(nil, backend.PushOpts{}) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			fresh := t.TempDir()
			b := board{Broker: s.b.URL, Keys: publicOf(s.key)}
			var old session.ListVersion
			if what != "snapshot" {
				s.push(people(crowd-50, 0, 1), backend.PushOpts{})
				old = s.head()
				b.Dir, b.Want = fresh, old
				got, _ := b.run(t)
				s.whole(got, old, old)
			}
			change(s)
			b.Want = s.head()
			for killed := true; killed; b.At++ {
				if b.Dir = t.TempDir(); what != "snapshot" {
					if err := os.CopyFS(b.Dir, os.DirFS(fresh)); err != nil {
						t.Fatal(err)
					}
				}
				now := b
				now.At++
				_, killed = now.run(t)
				look := board{Dir: b.Dir}
				got, _ := look.run(t)
				s.whole(got, old, b.Want)
				now.At = 0
				if got, _ = now.run(t); got.Version != b.Want {
					t.Fatalf("got %+v at last, want %+v", got.Version, b.Want)
				}
				s.whole(got, b.Want, b.Want)
			}
			if t.Logf("killed at %d steps", b.At-1); b.At < 4 {
				t.Errorf("got %d steps, want several", b.At-1)
			}
		})
	}
}

// The same on a disk that drops what was not synced, with the power cut at some
// change of the disk, through many lives of one board.
func TestGatewayPowerCutsInASync(t *testing.T) {
	for name, m := range map[string]cachetest.Model{"nothing unsynced survives": {}, "half of it survives": {Keep: 0.5}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := newShelf(t), cachetest.New(m)
			r := rand.New(rand.NewPCG(3, m.Seed))
			b := board{Broker: s.b.URL, Keys: publicOf(s.key)}
			var old session.ListVersion
			cut := 0
			for life := range *lives {
				s.push(people(crowd-r.IntN(200), life, 2+r.IntN(9)), backend.PushOpts{NewEpoch: life%5 == 4})
				next := s.head()
				b.Want = next
				for n := 20; ; n *= 2 {
					if n > 1<<20 {
						t.Fatalf("life %d: the disk keeps nothing", life)
					}
					d.CutAfter(1 + r.IntN(n))
					if got, _ := onDisk(t, d, b); got.Dark != "" {
						cut++
					}
					d.Survive()
					got, _ := onDisk(t, d, board{})
					if s.whole(got, old, next); got.Version == next {
						break
					}
				}
				got, _ := onDisk(t, d, b)
				s.whole(got, next, next)
				old = next
			}
			if t.Logf("%d cuts hit", cut); cut < *lives {
				t.Errorf("got %d cuts in %d lives, want more: nothing was tested", cut, *lives)
			}
		})
	}
}

func onDisk(t *testing.T, d *cachetest.Disk, b board) (seen, bool) {
	t.Helper()
	b.Dir = t.TempDir()
	if err := d.Mount(b.Dir); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := d.Unmount(); err != nil {
			t.Fatal(err)
		}
	}()
	return b.run(t)
}
