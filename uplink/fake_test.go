package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"badged/session"
)

// memory is a list store, a ratchet and an outbox that keeps everything in RAM,
// by the contracts' letter.
type memory struct {
	mu      sync.Mutex
	at      session.ListVersion
	entries map[session.IDToken]session.Entry
	staging session.ListVersion
	staged  map[int][]session.Entry
	highest session.ListVersion
	fail    error // what every write to the list store answers
	keySet  []byte
	noKeys  error // what every read and write of a key set answers

	ledger  string
	records []session.Message
	marks   session.Outbox
	replay  uint64 // the next record to send again, 0 for none
	last    uint64 // of those
	changed chan struct{}
	sent    []string // calls of Taken and Rewind
	ring    []session.Message
}

func newMemory() *memory {
	return &memory{entries: map[session.IDToken]session.Entry{}, ledger: "l1", changed: make(chan struct{}, 1)}
}

func (m *memory) InForce(context.Context) (session.ListVersion, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, nil
}

func (m *memory) ApplyDeltas(_ context.Context, from, to session.ListVersion, deltas []session.Delta) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if from != m.at {
		return errors.New("from is not in force")
	}
	next := maps.Clone(m.entries)
	for _, d := range deltas {
		for _, e := range d.Put {
			next[e.UID] = e
		}
		for _, uid := range d.Remove {
			delete(next, uid)
		}
	}
	if len(next) != to.Count {
		return fmt.Errorf("count is %d, want %d", len(next), to.Count)
	}
	m.at, m.entries = to, next
	return nil
}

func point(v session.ListVersion) string { return fmt.Sprint(v.List, v.Epoch, v.Version, v.Digest) }

func (m *memory) Stage(_ context.Context, to session.ListVersion, chunk int, entries []session.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.staged == nil || point(m.staging) != point(to) {
		m.staging, m.staged = to, map[int][]session.Entry{}
	}
	m.staged[chunk] = entries
	return nil
}

func (m *memory) Staged(_ context.Context, to session.ListVersion) ([]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if point(m.staging) != point(to) {
		return nil, nil
	}
	return slices.Collect(maps.Keys(m.staged)), nil
}

func (m *memory) Activate(_ context.Context, to session.ListVersion, chunks int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	next := map[session.IDToken]session.Entry{}
	for _, c := range m.staged {
		for _, e := range c {
			next[e.UID] = e
		}
	}
	if len(m.staged) != chunks || len(next) != to.Count {
		return fmt.Errorf("%d entries in %d chunks, want %d in %d", len(next), len(m.staged), to.Count, chunks)
	}
	m.at, m.entries, m.staged, m.staging = to, next, nil, session.ListVersion{}
	return nil
}

func (m *memory) Refresh(_ context.Context, to session.ListVersion) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.at = to
	return nil
}

func (m *memory) Discard(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged, m.staging = nil, session.ListVersion{}
	return nil
}

func (m *memory) HighestHead(context.Context, string) (session.ListVersion, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highest, nil
}

func (m *memory) RaiseHead(_ context.Context, v session.ListVersion) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.highest = v
	return nil
}

func (m *memory) KeySet(context.Context, string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keySet, m.noKeys
}

func (m *memory) SaveKeySet(_ context.Context, _ string, message []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noKeys == nil {
		m.keySet = message
	}
	return m.noKeys
}

// record appends n records.
func (m *memory) record(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		seq := uint64(len(m.records) + 1)
		m.records = append(m.records, session.Message{Ledger: m.ledger, Seq: seq, Hash: fmt.Sprintf("h%d", seq),
			Record: fmt.Appendf(nil, `{"account":"a<b>&","seq":%d}`, seq), Time: []byte(`{"wall":"2026-01-01T00:00:00.000Z"}`)})
		m.marks = session.Outbox{Ledger: m.ledger, End: seq, EndHash: fmt.Sprintf("h%d", seq), Taken: m.marks.Taken, Committed: m.marks.Committed}
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *memory) Unsent(_ context.Context, limit int) ([]session.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := m.records[m.marks.Taken:]
	if len(rest) == 0 && m.replay > 0 {
		rest = m.records[m.replay-1 : m.last]
	}
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (m *memory) Taken(_ context.Context, _ string, seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq > m.marks.Taken {
		m.marks.Taken = seq
	} else if m.replay = seq + 1; m.replay > m.last {
		m.replay = 0
	}
	m.sent = append(m.sent, fmt.Sprint("taken ", seq))
	return nil
}

func (m *memory) Acknowledge(_ context.Context, ledger string, upTo uint64, hash string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ledger != m.ledger:
		return session.ErrOtherLedger
	case upTo > m.marks.End:
		return session.ErrBeyondEnd
	case upTo > 0 && m.records[upTo-1].Hash != hash:
		return session.ErrOtherHash
	}
	if upTo < m.marks.Committed && upTo < m.marks.Taken {
		m.replay, m.last = upTo+1, m.marks.Taken
	}
	m.marks.Committed = upTo
	m.marks.Taken = max(m.marks.Taken, upTo)
	return nil
}

func (m *memory) Rewind(_ context.Context, from, to uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replay, m.last = from, to
	select { // as a commit does
	case m.changed <- struct{}{}:
	default:
	}
	m.sent = append(m.sent, fmt.Sprint("rewind ", from))
	return nil
}

func (m *memory) Outbox(context.Context) (session.Outbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks, nil
}

func (m *memory) Changed() <-chan struct{} { return m.changed }

func (m *memory) NextTelemetry(_ context.Context, limit int) ([]session.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ring[:min(limit, len(m.ring))]), nil
}

func (m *memory) DropTelemetry(_ context.Context, upTo uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ring = slices.DeleteFunc(m.ring, func(t session.Message) bool { return t.Seq <= upTo })
	return nil
}

// inForce is the list.
func (m *memory) inForce() (session.ListVersion, map[session.IDToken]session.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, maps.Clone(m.entries)
}
