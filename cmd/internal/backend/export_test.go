package backend

import (
	"context"
	"path/filepath"
	"time"
)

// FailAt has f called after each step of a Receiver: written, synced, taken,
// acknowledged.
func (r *Receiver) FailAt(f func(step string)) { r.at = f }

// Rests has f take the place of the waits between two connections.
func (r *Receiver) Rests(f func(wait time.Duration)) {
	r.rest = func(_ context.Context, wait time.Duration) { f(wait) }
}

// Abandon leaves the folder as a process does that dies.
func (r *Receiver) Abandon() {
	for _, l := range r.ledgers {
		if l.f != nil {
			l.f.Close()
		}
	}
	r.lock.Close()
}

// ParseRecord reads a message of a gateway's events, and its line in a file back.
func ParseRecord(topic string, payload []byte) (rec, again Record, err error) {
	if rec, err = parseRecord(topic, payload); err != nil {
		return rec, rec, err
	}
	line, err := formatLine(rec)
	if err == nil {
		again, err = parseLine(line)
	}
	if err != nil {
		panic(err) // what was taken must be kept
	}
	return rec, again, nil
}

// FormatLine is a record as a line of a file.
func FormatLine(rec Record) ([]byte, error) { return formatLine(rec) }

// Unsynced tells whether anything was written that is not on disk for certain.
func (r *Receiver) Unsynced() bool {
	for _, l := range r.ledgers {
		if l.dirty {
			return true
		}
	}
	return false
}

// Reopen frees the folder and gives the way to open it again.
func (p *Publisher) Reopen() func() (*Publisher, error) {
	p.Close()
	return func() (*Publisher, error) {
		q, err := OpenPublisher(filepath.Dir(p.store.dir), string(p.store.topics), p.broker, p.key)
		if err == nil {
			q.Now, q.Settle = p.Now, p.Settle
		}
		return q, err
	}
}

// FailAt has f called after each step on the disk and at the broker.
func (p *Publisher) FailAt(f func(step string)) { p.store.at = f }

// Held is what a Receiver keeps between messages: open files, and places to look.
func (r *Receiver) Held() (files, blocks int) {
	for _, l := range r.ledgers {
		if blocks += len(l.blocks); l.f != nil {
			files++
		}
	}
	return files, blocks
}
