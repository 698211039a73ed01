package backend_test

import (
	"fmt"
	"strings"

	"badged/cmd/internal/backend"
	"badged/session"
)

// truthful wants a gateway's list to be one that was published, whole. What is in
// force may change between two looks.
func (m *model) truthful(i int, when string) {
	m.t.Helper()
	list := m.boards[i].list
	for {
		before, err := list.InForce(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		got, err := content(m.t.Context(), list)
		if err != nil {
			m.t.Fatal(err)
		}
		if after, err := list.InForce(m.t.Context()); err != nil || after != before {
			continue
		}
		if want, known := m.contents[at(before)]; !known || got != want {
			m.t.Fatalf("%s: gateway %d has version %s with content %.8s, want %.8s (published: %t)", when, i, at(before), got, want, known)
		}
		m.noOlder(i, before, when)
		return
	}
}

// noOlder wants a gateway to have no older version than it has had, whatever became
// of its file, but for a snapshot on the way to one that is not older.
func (m *model) noOlder(i int, now session.ListVersion, when string) {
	m.t.Helper()
	if now.Compare(m.newest[i]) >= 0 {
		m.newest[i] = now
		return
	}
	s := m.boards[i].client.State().List
	to := session.ListVersion{Epoch: s.Epoch, Version: s.Version}
	if now.Version > 0 && to.Version > 0 && to.Compare(m.newest[i]) < 0 {
		m.t.Fatalf("%s: gateway %d has version %s on its way to %s, want none before %s, which it had", when, i, at(now), at(to), at(m.newest[i]))
	}
}

// quiet ends all trouble and wants everybody to agree.
func (m *model) quiet() {
	m.t.Helper()
	m.hook.loss.Store(0)
	if m.rand.IntN(2) == 0 {
		m.change()
	}
	until(m.t, "the publisher gets through", func() (through bool) {
		list := []session.Entry{}
		for i := range 40 {
			if e, ok := m.entries[i]; ok {
				list = append(list, e)
			}
		}
		m.publish(func(p *backend.Publisher) error {
			_, err := p.Push(m.t.Context(), list, backend.PushOpts{Force: true})
			if err == nil {
				_, err = p.Repair(m.t.Context())
			}
			if err != nil && strings.Contains(err.Error(), backend.ErrMoved.Error()) {
				_, err = p.Push(m.t.Context(), list, backend.PushOpts{Force: true, NewEpoch: true})
			}
			through = err == nil
			return err
		})
		return through
	})
	defer func() {
		for i, b := range m.boards {
			if m.t.Failed() {
				m.t.Logf("gateway %d: %+v", i, b.client.State())
			}
		}
	}()
	for i, b := range m.boards {
		b.stop()
		b.start()
		until(m.t, fmt.Sprint("gateway ", i, " has ", m.now()), func() bool {
			v, err := b.list.InForce(m.t.Context())
			if err != nil {
				m.t.Fatal(err)
			}
			return at(v) == m.now()
		})
		m.truthful(i, "when it is quiet")
		if err := b.list.Check(m.t.Context()); err != nil {
			m.t.Error(err)
		}
	}
}
