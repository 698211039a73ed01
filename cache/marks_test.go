package cache_test

import (
	"errors"
	"testing"

	"badged/session"
)

// A broker cannot have taken what was not made yet: were that believed, records to
// come would never be sent.
func TestMoreTakenThanThereIsIsRefused(t *testing.T) {
	l := newLedger(t)
	commit(t, l, 3)
	before := stats(t, l)
	if err := l.Taken(t.Context(), before.Ledger, before.End+1); !errors.Is(err, session.ErrBeyondEnd) {
		t.Errorf("got %v, want ErrBeyondEnd", err)
	}
	if err := l.Taken(t.Context(), "another", 1); !errors.Is(err, session.ErrOtherLedger) {
		t.Errorf("got %v, want ErrOtherLedger", err)
	}
	if got := stats(t, l); got.Taken != before.Taken {
		t.Errorf("got %d taken, want %d", got.Taken, before.Taken)
	}
	commit(t, l, 1)
	if got := unsent(t, l, 10); len(got) != 5 {
		t.Errorf("got %d records to send, want all 5", len(got))
	}
}
