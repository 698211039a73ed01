package uplink

import (
	"context"
	"fmt"
	"time"

	"badged/session"
)

// newHead takes a message on the head's topic.
func (s *listSync) newHead(ctx context.Context, payload []byte) error {
	h, err := ParseHead(payload, s.keys.lists(), string(s.topics))
	if err != nil {
		s.refuse(err)
		return nil
	}
	if err := s.load(ctx); err != nil {
		return s.unkept(ctx, err)
	}
	if done, err := s.accept(ctx, h); done || err != nil {
		return err
	}
	same := s.head.At().Compare(h.At()) == 0
	s.head, s.state.Epoch, s.state.Version = h, h.Epoch, h.Version
	if same && s.state.State == "incomplete" {
		return nil // its time comes
	}
	if !same {
		s.noDeltas, s.noWhole, s.retryAt, s.failures = false, false, time.Time{}, 0
	}
	return s.plan(ctx)
}

// accept lets a head pass that may follow on what was seen before, and remembers
// it before anything is done about it: a power cut in between leaves a head that
// comes again, never a list that nobody remembers.
func (s *listSync) accept(ctx context.Context, h Head) (done bool, err error) {
	for _, before := range []session.ListVersion{s.inForce, s.head.At(), s.highest} {
		if h.At().Compare(before) < 0 {
			s.refuse(fmt.Errorf("head %d.%d is older than %d.%d, which was seen before (rollback)", h.Epoch, h.Version, before.Epoch, before.Version))
			return true, nil
		}
	}
	for _, before := range []session.ListVersion{s.inForce, s.head.At(), s.highest} {
		if at, forks := h.forks(before); forks {
			s.refuse(fmt.Errorf("head %d.%d has another digest of version %d than was seen before (fork: two publishers?)", h.Epoch, h.Version, at))
			return true, nil
		}
	}
	if order := h.At().Compare(s.highest); order > 0 || order == 0 && s.highest.Digest == (session.Digest{}) {
		if err := s.ratchet.RaiseHead(ctx, h.At()); err != nil {
			return true, s.unkept(ctx, fmt.Errorf("remember head: %w", err))
		}
		s.highest = h.At()
	}
	return false, nil
}

// forks tells at which version, if any, h has another history than what was seen
// before: h stands for two points of it, its own and its snapshot's.
func (h Head) forks(before session.ListVersion) (at uint64, yes bool) {
	switch {
	case before.Digest == session.Digest{} || before.Epoch != h.Epoch:
		return 0, false // nothing was seen, or only its number is known
	case before.Version == h.Version:
		return h.Version, h.Digest != before.Digest || h.Count != before.Count
	case before.Version == h.Snapshot.Version:
		return before.Version, h.Snapshot.Digest != before.Digest
	}
	return 0, false
}

// refresh takes over a later date of the version in force.
func (s *listSync) refresh(ctx context.Context, to session.ListVersion) error {
	if err := s.store.Refresh(ctx, to); err != nil {
		return s.unkept(ctx, err)
	}
	s.inForce = to
	s.state.Last = "" // what was wrong before is over
	s.report(ListEvent{ListRefreshed, to, nil})
	return s.plan(ctx)
}

// load reads once what the store and the ratchet have.
func (s *listSync) load(ctx context.Context) error {
	if s.known {
		return nil
	}
	v, err := s.store.InForce(ctx)
	if err != nil {
		return fmt.Errorf("read list in force: %w", err)
	}
	highest, err := s.ratchet.HighestHead(ctx, string(s.topics))
	if err != nil {
		return fmt.Errorf("read highest head: %w", err)
	}
	if v.List != "" && v.List != string(s.topics) {
		v = session.ListVersion{} // of another list: to be replaced as if there were none
	}
	s.inForce, s.highest, s.known = v, highest, true
	return nil
}
