package readertest

import (
	"slices"
	"sort"
	"sync"
	"time"
)

// fc is the carrier and the clock of the chip's timer unit and of the air.
const fc = 13_560_000

// cycles is the time of n carrier cycles, to the nanosecond.
func cycles(n int64) time.Duration {
	return time.Duration(n/fc)*time.Second + time.Duration((n%fc*1e9+fc/2)/fc)
}

// carrier is how many whole carrier cycles pass in d.
func carrier(d time.Duration) int64 {
	return int64(d/time.Second)*fc + int64(d%time.Second)*fc/1e9
}

// etu is the time of n bits at 106 kBd (ISO/IEC 14443-2, 8.1).
func etu(n int) time.Duration { return cycles(128 * int64(n)) }

// What an event does when its time comes.
type eventKind int

const (
	evFunc    eventKind = iota // run f
	evTxEnd                    // the last bit of a PCD frame is out
	evRxStart                  // the first PICC starts to answer
	evRxBit5                   // the receiver has seen five bits
	evRxEnd                    // the answer and its end of communication are in
	evTimer                    // the timer unit reaches zero
	evAuth                     // the chip's second frame of MFAuthent is due
)

// event is one thing to come. Kinds instead of closures keep an idle poll free
// of allocations; id says which frame, timer start or command it belongs to.
type event struct {
	at   time.Duration
	kind eventKind
	id   uint64
	f    func()
}

// clock is the chip's time and what it has in store. Its lock is never held
// while something else is called, so it may be used from anywhere.
type clock struct {
	start time.Time // of a real clock; zero: virtual

	mu     sync.Mutex
	now    time.Duration
	events []event // latest first; of equal ones the one scheduled later first
}

// time is the time it is: in virtual time where the chip stands, in real time
// the machine's.
func (k *clock) time() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.start.IsZero() {
		return max(k.now, time.Since(k.start))
	}
	return k.now
}

// stand is where the chip stands; a real chip lags until it is looked at.
func (k *clock) stand() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *clock) schedule(e event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.at = max(e.at, k.now)
	i := sort.Search(len(k.events), func(i int) bool { return k.events[i].at <= e.at })
	k.events = slices.Insert(k.events, i, e)
}

// pop moves time to the next event that is due at until, or to until.
func (k *clock) pop(until time.Duration) (event, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.events) - 1
	if n < 0 || k.events[n].at > until {
		k.now = max(k.now, until)
		return event{}, false
	}
	e := k.events[n]
	k.events[n] = event{}
	k.events = k.events[:n]
	k.now = max(k.now, e.at)
	return e, true
}

// next is the time of the next event.
func (k *clock) next() (time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) == 0 {
		return 0, false
	}
	return k.events[len(k.events)-1].at, true
}
