package control

import (
	"sync"
	"time"
)

// Event is one thing that happened in the gateway, for those who watch.
type Event struct {
	At            time.Time `json:"at"`
	Kind          string    `json:"kind"` // "card", "decision", "enrolled", "removed", "reader", "list", "ledger", ...
	Reader        string    `json:"reader,omitempty"`
	UID           string    `json:"uid,omitempty"` // masked, 04A1…C3
	Type          string    `json:"type,omitempty"`
	Confidence    string    `json:"confidence,omitempty"` // in the type: certain, likely, family
	Name          string    `json:"name,omitempty"`       // product, for people
	Verdict       string    `json:"verdict,omitempty"`
	Status        string    `json:"status,omitempty"`
	Reason        string    `json:"reason,omitempty"`
	Shadow        string    `json:"shadow,omitempty"` // why a policy that is only tried out would refuse it
	Station       string    `json:"station,omitempty"`
	TransactionID string    `json:"transactionId,omitempty"`
	Text          string    `json:"text,omitempty"`
	Notes         []string  `json:"notes,omitempty"`
}

// hubQueue is how many events a watcher may lag behind: a busy minute of taps.
const hubQueue = 64

// Hub hands events to watchers. The zero value is ready; it is safe for
// concurrent use.
type Hub struct {
	mu       sync.Mutex
	watchers map[chan Event]struct{}
}

// Publish hands e to every watcher and never blocks: one whose queue is full is
// dropped, its channel closed.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		select {
		case w <- e:
		default:
			h.drop(w)
		}
	}
}

// Watch returns the events from now on. The channel is closed when the watcher
// is too slow, or by stop, which may be called more than once.
func (h *Hub) Watch() (events <-chan Event, stop func()) {
	w := make(chan Event, hubQueue)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = make(map[chan Event]struct{})
	}
	h.watchers[w] = struct{}{}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(w)
	}
}

func (h *Hub) drop(w chan Event) {
	if _, ok := h.watchers[w]; ok {
		delete(h.watchers, w)
		close(w)
	}
}
