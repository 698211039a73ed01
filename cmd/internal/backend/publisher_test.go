package backend_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"badged/cmd/internal/backend"
	"badged/uplink"
)

func TestReadCSV(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no header":        {"", "header"},
		"no uid":           {"status\nAccepted\n", `no column uid, only ["status"]`},
		"unknown column":   {"uid,colour\n", `line 1: column B: "colour": no such column`},
		"column twice":     {"uid,uid\n", "line 1"},
		"no UID":           {"uid\nbadge\n", "line 2"},
		"UID of 5 bytes":   {"uid\n04A1B2C3D5\n", "line 2"},
		"badge twice":      {"uid\n04A1B2C3\n04A1B2C4\n04a1b2c3\n", "line 4: badge 04A1B2C3 stands in line 2"},
		"unknown status":   {"uid,status\n04A1B2C3,Fine\n", "line 2"},
		"unknown origin":   {"uid,origin\n04A1B2C3,found\n", "line 2"},
		"no time":          {"uid,validUntil\n04A1B2C3,soon\n", `line 2: column B: validUntil: "soon"`},
		"a field too few":  {"uid,status\n04A1B2C3\n", "line 2"},
		"an open quote":    {"uid,account\n04A1B2C3,\"x\n", "line 2"},
		"two errors":       {"uid\nx\n04A1B2C3\ny\n", "line 4"},
		"unknown service":  {"uid,services\n04A1B2C3,cooking\n", `service "cooking"`},
		"unknown language": {"uid,language\n04A1B2C3,xx\n", `language "xx"`},
		"never valid":      {"uid,validFrom,validUntil\n04A1B2C3,2026-02-01T00:00:00Z,2026-01-01T00:00:00Z\n", "not after"},
		"bad station name": {"uid,stations\n04A1B2C3,Waschküche\n", "line 2"},
	} {
		if _, err := backend.ReadCSV(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	got := entries(t, "\ufeffaccount, uid, services ,origin,role\nr-1,04a1b2c4,laundry; charging,issued,user\nr-2,04A1B2C3,,third-party,master\n")
	want := "[{04A1B2C3 Accepted r-2 third-party master [] [] 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC }" +
		" {04A1B2C4 Accepted r-1   [laundry charging] [] 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC }]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

// badges is a CSV of n badges from the first.
func badges(first, n int) string {
	var b strings.Builder
	b.WriteString("uid,account\n")
	for i := range n {
		fmt.Fprintf(&b, "%08X,r-%d\n", first+i, first+i)
	}
	return b.String()
}

// verified is what a gateway would find on the broker.
func verified(t *testing.T, dir string, b backend.BrokerOpts) (uplink.Head, int) {
	t.Helper()
	keys, err := backend.ReadKeys(filepath.Join(dir, backend.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	h, list, err := backend.Verify(t.Context(), b, "desk", keys)
	if err != nil {
		t.Fatal(err)
	}
	return h, len(list)
}

func TestPushes(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	if got := push(t, p, badges(0, 30_000), backend.PushOpts{}); !got.Snapshot || got.To < 2 || got.Count != 30_000 {
		t.Errorf("first push: got version %d, count %d, snapshot %t, want a snapshot of 30000", got.To, got.Count, got.Snapshot)
	}
	first, n := verified(t, dir, b)
	if n != 30_000 || first.Epoch != 1 || first.DeltasFrom != first.Version {
		t.Errorf("first push: got %+v with %d badges", first, n)
	}
	if got := push(t, p, badges(0, 30_001), backend.PushOpts{}); got.Snapshot || got.To != got.From+1 || len(got.Put) != 1 {
		t.Errorf("one badge more: got %d to %d, snapshot %t, want one delta", got.From, got.To, got.Snapshot)
	}
	if got := push(t, p, badges(0, 30_001), backend.PushOpts{}); got.To != got.From || len(got.Put)+len(got.Remove) != 0 {
		t.Errorf("nothing new: got %+v, want no new version", got)
	}
	if _, err := p.Push(t.Context(), entries(t, badges(0, 20_000)), backend.PushOpts{}); !errors.Is(err, backend.ErrShrinks) {
		t.Errorf("a third gone: got %v, want ErrShrinks", err)
	}
	if got := push(t, p, badges(0, 20_000), backend.PushOpts{DryRun: true, Force: true}); len(got.Remove) != 10_001 {
		t.Errorf("dry run: got %d removed, want 10001", len(got.Remove))
	}
	push(t, p, badges(0, 20_000), backend.PushOpts{Force: true})
	if h, n := verified(t, dir, b); n != 20_000 || h.Epoch != 1 || h.DeltasFrom != first.Version {
		t.Errorf("after all: got %d.%d with %d badges", h.Epoch, h.Version, n)
	}
	if _, err := p.Push(t.Context(), nil, backend.PushOpts{}); !errors.Is(err, backend.ErrShrinks) {
		t.Errorf("all gone: got %v, want ErrShrinks", err)
	}
	push(t, p, "uid\n", backend.PushOpts{Force: true})
	if _, n := verified(t, dir, b); n != 0 {
		t.Errorf("empty list: got %d badges, want none", n)
	}
}

func TestManyPushesMakeASnapshotAndClearOldDeltas(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	for n := range 70 {
		push(t, p, badges(0, n+1), backend.PushOpts{})
	}
	h, n := verified(t, dir, b)
	if n != 70 || h.Version != 70 || h.Snapshot.Version < 60 || h.DeltasFrom > 1 {
		t.Errorf("got %+v with %d badges, want a new snapshot and deltas from the first", h, n)
	}
	if _, err := os.Stat(filepath.Join(dir, "desk", "1-snapshot-1-index")); err != nil {
		t.Errorf("the snapshot before is kept for laggards: %v", err)
	}
}

func TestAStoreThatWasLostNeedsANewEpoch(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	push(t, publisher(t, dir, b), badges(0, 10), backend.PushOpts{})
	other := t.TempDir()
	for _, f := range []string{backend.KeyFile, backend.KeysFile} {
		c, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, f), c, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := publisher(t, other, b)
	if _, err := p.Push(t.Context(), entries(t, badges(0, 3)), backend.PushOpts{}); !errors.Is(err, backend.ErrMoved) {
		t.Errorf("got %v, want ErrMoved", err)
	}
	push(t, p, badges(0, 3), backend.PushOpts{NewEpoch: true})
	if h, n := verified(t, other, b); h.Epoch != 2 || n != 3 {
		t.Errorf("got epoch %d with %d badges, want 2 with 3", h.Epoch, n)
	}
}

// vandal writes to a topic of the list's.
func vandal(t *testing.T, b backend.BrokerOpts, topic string, payload []byte) {
	t.Helper()
	c, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "vandal"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(t.Context(), topic, true, payload); err != nil {
		t.Fatal(err)
	}
}

// Whoever may write the topic must not lock out who may sign.
func TestANewEpochReplacesWhatIsNoHeadOfOurs(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 10), backend.PushOpts{})
	vandal(t, b, uplink.ListTopics("desk").Head(), []byte("garbage"))
	if _, err := p.Push(t.Context(), entries(t, badges(0, 11)), backend.PushOpts{}); !errors.Is(err, backend.ErrMoved) {
		t.Errorf("got %v, want ErrMoved", err)
	}
	push(t, p, badges(0, 11), backend.PushOpts{NewEpoch: true})
	if h, n := verified(t, dir, b); h.Epoch != 2 || n != 11 {
		t.Errorf("got epoch %d with %d badges, want 2 with 11", h.Epoch, n)
	}
}

func TestRepairGivesBackWhatTheBrokerLost(t *testing.T) {
	dir, first := t.TempDir(), broker(t)
	p := publisher(t, dir, first)
	push(t, p, badges(0, 5), backend.PushOpts{})
	push(t, p, badges(0, 6), backend.PushOpts{})
	before, _ := verified(t, dir, first)
	p.Close()
	forgot := broker(t) // has nothing
	q := publisher(t, dir, forgot)
	if sent, err := q.Repair(t.Context()); err != nil || sent != 3 {
		t.Errorf("got %d pieces sent, %v, want index, chunk and delta", sent, err)
	}
	after, n := verified(t, dir, forgot)
	if n != 6 || after.Digest != before.Digest || !after.IssuedAt.After(before.IssuedAt) {
		t.Errorf("got %+v with %d badges, want the same list, issued later", after, n)
	}
	if sent, err := q.Repair(t.Context()); err != nil || sent != 0 {
		t.Errorf("again: got %d pieces sent, %v, want none", sent, err)
	}
}

// cutter is a broker's hook that ends the connection of whoever sends message n.
type cutter struct {
	anybody
	left atomic.Int64
}

func (*cutter) ID() string { return "cutter" }

func (c *cutter) Provides(b byte) bool { return c.anybody.Provides(b) || b == mochi.OnPublish }

func (c *cutter) OnPublish(cl *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if !cl.Net.Inline && c.left.Add(-1) == 0 {
		cl.Stop(errors.New("cut"))
		return p, packets.ErrRejectPacket
	}
	return p, nil
}

func TestAPushThatTheBrokerCutsCanBeRepeated(t *testing.T) {
	for name, before := range map[string]string{"a snapshot": "", "deltas": badges(10, 5)} {
		t.Run(name, func(t *testing.T) {
			n := int64(1)
			for cutPush(t, before, n) {
				n++
			}
			if n < 4 {
				t.Errorf("the push went through with %d messages, want it cut at each of several", n)
			}
		})
	}
}

// cutPush cuts a push at message n, if it has as many, and repeats it.
func cutPush(t *testing.T, before string, n int64) (wasCut bool) {
	t.Helper()
	dir, hook := t.TempDir(), new(cutter)
	b := broker(t, hook)
	p := publisher(t, dir, b)
	if before != "" {
		push(t, p, before, backend.PushOpts{})
	}
	hook.left.Store(n)
	_, err := p.Push(t.Context(), entries(t, badges(0, 8000)), backend.PushOpts{})
	hook.left.Store(0)
	p.Close()
	push(t, publisher(t, dir, b), badges(0, 8001), backend.PushOpts{})
	if _, got := verified(t, dir, b); got != 8001 {
		t.Errorf("cut at message %d: got %d badges, want 8001", n, got)
	}
	return err != nil
}

// A process dies before head.json names what it wrote: the pieces are leftovers.
func TestPiecesThatNoHeadNamesDoNoHarm(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 5), backend.PushOpts{})
	for _, name := range []string{"1-delta-2", "1-delta-3", "1-snapshot-2-index", "1-snapshot-2-0", ".new-1"} {
		path := filepath.Join(dir, "desk", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	push(t, p, badges(0, 6), backend.PushOpts{})
	if h, n := verified(t, dir, b); n != 6 || h.Version != 2 {
		t.Errorf("got version %d with %d badges, want 2 with 6", h.Version, n)
	}
	if _, err := os.Stat(filepath.Join(dir, "desk", "1-delta-3")); err == nil {
		t.Error("delta/3 is still there, want it cleared")
	}
}

// A new epoch that replaces rubbish goes on by itself once it is the store's.
func TestANewEpochThatWasCutShortGoesOn(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 10), backend.PushOpts{})
	vandal(t, b, uplink.ListTopics("desk").Head(), []byte("garbage"))
	p.FailAt(func(step string) {
		if step == "version stored" {
			panic(step)
		}
	})
	func() {
		defer func() { _ = recover() }()
		_, _ = p.Push(t.Context(), entries(t, badges(0, 11)), backend.PushOpts{NewEpoch: true})
		t.Error("the push went through, want it cut short")
	}()
	p.Close()
	push(t, publisher(t, dir, b), badges(0, 12), backend.PushOpts{})
	if h, n := verified(t, dir, b); h.Epoch != 2 || n != 12 {
		t.Errorf("got epoch %d with %d badges, want 2 with 12", h.Epoch, n)
	}
}

// Two publishers that work from copies of one store at once: at most one gets
// through, and the other one says why not.
func TestTwoPublishersAtOnce(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	p := publisher(t, dir, b)
	push(t, p, badges(0, 10), backend.PushOpts{})
	p.Close()
	twin := t.TempDir()
	if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(twin, backend.KeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 2)
	for i, d := range []string{dir, twin} {
		p := publisher(t, d, b)
		list := entries(t, badges(0, 11+i))
		go func() {
			_, err := p.Push(t.Context(), list, backend.PushOpts{})
			errs <- err
		}()
	}
	through := 0
	for range 2 {
		switch err := <-errs; {
		case err == nil:
			through++
		case !errors.Is(err, backend.ErrMoved) && !strings.Contains(err.Error(), "does not keep"):
			t.Errorf("got %v, want ErrMoved", err)
		}
	}
	if through > 1 {
		t.Error("both got through")
	}
}

// rival has another publisher's head arrive while the first pieces are sent.
type rival struct {
	anybody
	server *mochi.Server
	head   []byte
}

func (*rival) Provides(b byte) bool { return (*anybody)(nil).Provides(b) || b == mochi.OnPublished }

func (r *rival) OnPublished(_ *mochi.Client, p packets.Packet) {
	if head := r.head; strings.Contains(p.TopicName, "/snapshot/") && head != nil {
		r.head = nil
		_ = r.server.Publish(uplink.ListTopics("desk").Head(), head, true, 1)
	}
}

func TestAPushStopsWhenTheHeadMovesMeanwhile(t *testing.T) {
	for name, before := range map[string]int{"on an empty broker": 0, "on one's own list": 5} {
		t.Run(name, func(t *testing.T) {
			r := &rival{head: []byte("another head")}
			b := brokerWith(t, r, func(s *mochi.Server) { r.server = s })
			p := publisher(t, t.TempDir(), b)
			if before > 0 {
				head := r.head
				r.head = nil
				push(t, p, badges(0, before), backend.PushOpts{})
				r.head = head
			}
			if _, err := p.Push(t.Context(), entries(t, badges(0, 25_000)), backend.PushOpts{}); !errors.Is(err, backend.ErrMoved) {
				t.Errorf("got %v, want ErrMoved", err)
			}
		})
	}
}
