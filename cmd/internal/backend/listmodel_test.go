package backend_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

var (
	modelSeed = flag.Uint64("model.seed", 1, "first seed of the list's model test")
	models    = flag.Uint64("model.seeds", 4, "seeds of the list's model test")
	modelOps  = flag.Int("model.ops", 50, "operations of each")
)

// lossy is a broker that anybody may use and that loses what it is told to keep.
type lossy struct {
	anybody
	loss atomic.Int64 // one message of so many; 0 for none
}

func (l *lossy) Provides(b byte) bool { return b == mochi.OnPublish || l.anybody.Provides(b) }

func (l *lossy) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if n := l.loss.Load(); n > 0 && strings.HasPrefix(p.TopicName, "badged/v1/lists/") && rand.Int64N(n) == 0 {
		return p, packets.CodeSuccessIgnore // PUBACKed, and gone
	}
	return p, nil
}

// model is a publisher, a broker and gateways, and what every version held.
type model struct {
	t    *testing.T
	rand *rand.Rand

	server *mochi.Server
	b      backend.BrokerOpts
	hook   *lossy

	dir       string
	key, root jose.JSONWebKey
	pinned    jose.JSONWebKeySet
	entries   map[int]session.Entry // what the publisher pushed last
	contents  map[string]string     // of each version, by epoch.version
	old       [][]byte              // heads that were true once

	boards []*follower
	off    map[*follower]bool
	newest []session.ListVersion // that each of them has had
}

// TestEverythingConverges does what publishers, brokers and gateways may do, and
// what nobody should, in a random order that the seed gives; what meets what on the
// wire is chance. A gateway never has a list that was not published; once it is
// quiet, every gateway has the publisher's.
func TestEverythingConverges(t *testing.T) {
	for seed := *modelSeed; seed < *modelSeed+*models; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for n := range *modelOps {
				what := m.step()
				for i := range m.boards {
					m.truthful(i, fmt.Sprintf("seed %d, operation %d (%s)", seed, n, what))
				}
			}
			m.quiet()
		})
	}
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 9)), hook: new(lossy), dir: t.TempDir(), key: listKey(t), root: rootKey(t),
		off: map[*follower]bool{}, entries: map[int]session.Entry{}, contents: map[string]string{"0.0": contentOf(nil)}}
	m.pinned = publicOf(m.key)
	m.b = brokerWith(t, m.hook, func(s *mochi.Server) { m.server = s })
	for range 3 {
		f := newFollower(t, m.b, m.pinned, publicOf(m.root))
		f.o.ListPatience, f.o.RetryMin, f.o.RetryMax = 50*time.Millisecond, time.Millisecond, 50*time.Millisecond
		f.start()
		m.boards, m.newest = append(m.boards, f), append(m.newest, session.ListVersion{})
	}
	return m
}

// forgetAll is a broker that starts again with nothing. To close and open this one
// would hang: mochi-mqtt 2.7.9 waits for clients that it let in while it closed.
func (m *model) forgetAll() {
	for topic := range m.server.Topics.Retained.GetAll() {
		m.server.Topics.Retained.Delete(topic)
	}
	for _, c := range m.server.Clients.GetAll() {
		if !c.Net.Inline {
			c.Stop(io.EOF)
		}
	}
}

// publish has the publisher do something, which may fail on such a broker; what
// its store then says is the truth.
func (m *model) publish(do func(p *backend.Publisher) error) {
	m.t.Helper()
	p := open(m.t, m.dir, m.b, m.key)
	defer p.Close()
	p.Settle = 30 * time.Millisecond
	if err := do(p); err != nil {
		m.t.Log(err)
	}
	now, err := backend.StoredHead(m.dir, "desk")
	if err != nil {
		return // nothing yet
	}
	list, err := p.Entries()
	if err != nil {
		m.t.Fatal(err)
	}
	if was, known := m.contents[now]; known && was != contentOf(list) {
		m.t.Fatalf("version %s has another content than before", now)
	}
	m.contents[now] = contentOf(list)
	if raw, ok := m.server.Topics.Retained.Get(uplink.ListTopics("desk").Head()); ok {
		m.old = append(m.old, slices.Clone(raw.Payload))
	}
}

func (m *model) push(o backend.PushOpts) {
	o.Force = true
	var list []session.Entry
	for i := range 40 {
		if e, ok := m.entries[i]; ok {
			list = append(list, e)
		}
	}
	m.publish(func(p *backend.Publisher) error { _, err := p.Push(m.t.Context(), list, o); return err })
}

// change puts or removes a few badges.
func (m *model) change() {
	for range 1 + m.rand.IntN(4) {
		i := m.rand.IntN(40)
		if delete(m.entries, i); m.rand.IntN(3) > 0 {
			m.entries[i] = person(i, m.rand.IntN(1000))
		}
	}
}

// retained are the topics of the list that the broker has, in order.
func (m *model) retained() (topics []string) {
	for topic := range m.server.Topics.Retained.GetAll() {
		if strings.HasPrefix(topic, "badged/v1/lists/") {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

// send is what somebody who may write to the broker does.
func (m *model) send(topic string, payload []byte) {
	if err := m.server.Publish(topic, payload, true, 1); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) some(topics []string, share int) (some []string) {
	for _, topic := range topics {
		if m.rand.IntN(share) == 0 {
			some = append(some, topic)
		}
	}
	m.rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some
}

// step does one thing and says which.
func (m *model) step() string {
	head := uplink.ListTopics("desk").Head()
	b := m.boards[m.rand.IntN(len(m.boards))]
	switch m.rand.IntN(16) {
	default:
		m.change()
		m.push(backend.PushOpts{})
		return "push"
	case 0:
		m.publish(func(p *backend.Publisher) error { _, err := p.Compact(m.t.Context()); return err })
		return "compact"
	case 1:
		m.change()
		m.push(backend.PushOpts{NewEpoch: true})
		return "new epoch"
	case 2:
		m.rotate()
		return "rotate"
	case 3:
		m.publish(func(p *backend.Publisher) error { _, err := p.Repair(m.t.Context()); return err })
		return "repair"
	case 4:
		m.hook.loss.Store([]int64{0, 0, 0, 4, 20}[m.rand.IntN(5)])
		return "the broker loses more or less"
	case 5:
		for _, topic := range m.some(m.retained(), 3) {
			m.send(topic, nil)
		}
		return "the broker forgets"
	case 6:
		m.forgetAll()
		return "the broker starts with nothing"
	case 7:
		for _, topic := range m.some(m.retained(), 2) {
			if p, ok := m.server.Topics.Retained.Get(topic); ok {
				m.send(topic, p.Payload)
			}
		}
		return "the broker repeats itself"
	case 8:
		for _, topic := range m.some(m.retained(), 6) {
			m.send(topic, []byte("rubbish"))
		}
		return "a vandal"
	case 9:
		if len(m.old) > 0 {
			m.send(head, m.old[m.rand.IntN(len(m.old))])
		}
		return "an old head"
	case 13:
		for _, topic := range m.retained() {
			m.forge(topic)
		}
		m.restartBare(b)
		return "a forger"
	case 10:
		if m.off[b] = !m.off[b]; m.off[b] {
			b.stop()
			return "a gateway goes off"
		}
		b.start()
		return "a gateway comes back"
	case 11:
		if n := len(m.old); n > 0 && m.rand.IntN(2) == 0 { // the moment for one whose pieces are there
			m.send(head, m.old[n-1-m.rand.IntN(min(n, 4))])
		}
		m.restartBare(b)
		return "a gateway loses its list"
	case 12:
		b.stop()
		b.start()
		m.off[b] = false
		return "a gateway starts again"
	}
}

// restartBare has a gateway start without its list, and lets it take what the broker
// has, if that is soon.
func (m *model) restartBare(b *follower) {
	b.stop()
	b.loseList()
	b.start()
	m.off[b] = false
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if v, err := b.list.InForce(m.t.Context()); err == nil && v.Version > 0 {
			return
		}
	}
}

// forge puts a piece on the broker that is right in everything but what it says of
// the badges, and its hash.
func (m *model) forge(topic string) {
	p, ok := m.server.Topics.Retained.Get(topic)
	if !ok || strings.HasSuffix(topic, "/index") { // which says nothing of badges
		return
	}
	var forged any
	if d, err := uplink.DecodeDelta(p.Payload); err == nil {
		forgeEntries(d.Put)
		forged = d
	} else if c, err := uplink.DecodeChunk(p.Payload); err == nil {
		forgeEntries(c.Put)
		forged = c
	} else {
		return
	}
	b, err := uplink.Encode(forged)
	if err != nil {
		m.t.Fatal(err)
	}
	m.send(topic, b)
}

func forgeEntries(entries []session.Entry) {
	for i := range entries {
		entries[i].Account = "forged"
	}
}

func (m *model) rotate() {
	if m.contents[m.now()] == "" {
		return // there is nothing to sign anew
	}
	before := m.key
	m.key = listKey(m.t)
	none := publicOf()
	done := false
	m.publish(func(p *backend.Publisher) error {
		_, err := p.Rotate(m.t.Context(), backend.RotateOpts{Root: m.root, Commands: &none})
		done = err == nil
		return err
	})
	if !done && !m.maySign() {
		m.key = before // it never came to anything
	}
}

// maySign tells whether the store takes the new key already: then there is no way
// back to the old one.
func (m *model) maySign() bool {
	may := true
	m.publish(func(p *backend.Publisher) error {
		_, err := p.Repair(m.t.Context())
		may = !errors.Is(err, backend.ErrMoved) && !errors.Is(err, backend.ErrReplaced)
		return err
	})
	return may
}

func (m *model) now() string {
	v, err := backend.StoredHead(m.dir, "desk")
	if err != nil {
		return ""
	}
	return v
}
