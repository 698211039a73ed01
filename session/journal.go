package session

import (
	"errors"
	"maps"
	"time"
)

// maxTelemetry bounds what is kept of telemetry while nothing can be written.
const maxTelemetry = 64

// journal is what is still to be written, in order.
type journal struct {
	pending Commit // has happened, not handed to the writer yet
	sent    Commit // the writer has it
	writing bool
	why     Reason        // of the last failure, for who cannot start meanwhile
	start   bool          // what the writer has is a start
	delay   time.Duration // of the next retry; 0 while all is well
	retry   time.Duration // Up
	work    chan Commit
	results chan error
}

func newJournal() journal {
	return journal{work: make(chan Commit, 1), results: make(chan error, 1)}
}

func (j *journal) failing() bool { return j.delay > 0 }

// add appends c to what is pending. One Commit for several steps is one flush.
func (j *journal) add(c Commit) { j.pending = merge(j.pending, c) }

func merge(a, b Commit) Commit {
	if a.States == nil {
		a.States = make(map[string][]byte)
	}
	maps.Copy(a.States, b.States)
	a.Records = append(a.Records, b.Records...)
	a.Telemetry = append(a.Telemetry, b.Telemetry...)
	if n := len(a.Telemetry); n > maxTelemetry {
		a.Telemetry = a.Telemetry[n-maxTelemetry:]
	}
	return a
}

func (j *journal) take() Commit {
	c := j.pending
	j.pending = Commit{}
	return c
}

func (j *journal) send(c Commit) {
	j.sent, j.writing = c, true
	j.work <- c
}

func (j *journal) succeed() { j.sent, j.delay, j.retry = Commit{}, 0, 0 }

// fail puts what was not written back before what has come since. A full disk
// has no room for telemetry.
func (j *journal) fail(now time.Duration, err error) {
	j.why = StorageFault
	if errors.Is(err, ErrFull) {
		j.why, j.sent.Telemetry = StorageFull, nil
	}
	j.pending = merge(j.sent, j.pending)
	j.sent = Commit{}
	j.delay = min(max(firstRetry, 2*j.delay), lastRetry)
	j.retry = now + j.delay
}
