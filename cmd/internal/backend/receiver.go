package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"badged/uplink"
)

// Receiver commits the records of gateways to files and acknowledges them.
type Receiver struct {
	dir     string
	ack     bool
	lock    *os.File
	ledgers map[string]*ledgerFile // by gateway/ledger
	log     *slog.Logger
	follow  func(Record)
	said    map[string]uplink.Ack // by gateway
}

// ReceiverOpts are the ways to receive.
type ReceiverOpts struct {
	// Ack acknowledges; without it a Receiver only keeps a copy.
	Ack bool
	// Follow is told of every new record once it is on disk; may be nil.
	Follow func(Record)
	Log    *slog.Logger
}

// Record is one message of a gateway as it was committed.
type Record struct {
	Gateway string          `json:"gateway"`
	Ledger  string          `json:"ledger"`
	Seq     uint64          `json:"seq"`
	Hash    string          `json:"hash"`
	Record  json.RawMessage `json:"record"`
	Time    json.RawMessage `json:"time,omitempty"`
}

// OpenReceiver opens the folder, or makes it, and reads how far each ledger has
// come. Close frees it.
func OpenReceiver(dir string, o ReceiverOpts) (*Receiver, error) {
	l, err := lock(dir)
	if err != nil {
		return nil, err
	}
	r := &Receiver{dir: dir, ack: o.Ack, lock: l, log: o.Log, follow: o.Follow, said: make(map[string]uplink.Ack)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.follow == nil {
		r.follow = func(Record) {}
	}
	if r.ledgers, err = openLedgers(dir); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return r, nil
}

// Close frees the folder.
func (r *Receiver) Close() error {
	var err error
	for _, l := range r.ledgers {
		err = errors.Join(err, l.f.Close())
	}
	return errors.Join(err, r.lock.Close())
}

// Run receives until ctx ends, over as many connections as it takes. It fails
// only when the folder cannot be written: what is not on disk is not acknowledged.
func (r *Receiver) Run(ctx context.Context, b BrokerOpts) error {
	wait := time.Second
	for ctx.Err() == nil {
		err := r.connection(ctx, b)
		var disk *diskError
		if errors.As(err, &disk) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		r.log.Warn("broker out of reach", "err", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
		wait = min(2*wait, time.Minute)
	}
	return nil
}

// diskError ends Run.
type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }

func (r *Receiver) connection(ctx context.Context, b BrokerOpts) error {
	l, err := connect(ctx, b, "events", settle)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Subscribe(ctx, uplink.AllEvents); err != nil {
		return err
	}
	clear(r.said) // a broker that forgot what it retained is told again
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Lost():
			return l.Err()
		case m := <-l.Messages():
			if err := r.take(ctx, l, more(m, l.Messages())); err != nil {
				return err
			}
		}
	}
}

// more takes what else has come, so that one sync serves many records.
func more(first uplink.Incoming, rest <-chan uplink.Incoming) []uplink.Incoming {
	all := []uplink.Incoming{first}
	for len(all) < 200 {
		select {
		case m := <-rest:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// take commits messages, then tells the broker, then the gateways.
func (r *Receiver) take(ctx context.Context, l *link, messages []uplink.Incoming) error {
	touched := make(map[*ledgerFile]bool)
	var fresh []Record
	for _, m := range messages {
		rec, err := parseRecord(m.Topic, m.Payload)
		if err != nil {
			r.log.Warn("message refused", "topic", m.Topic, "err", err)
			continue
		}
		f, isNew, err := r.append(rec)
		if err != nil {
			return &diskError{err}
		}
		touched[f] = true
		if isNew {
			fresh = append(fresh, rec)
		}
	}
	for f := range touched {
		if err := f.sync(); err != nil {
			return &diskError{err}
		}
	}
	for _, m := range messages {
		m.Ack()
	}
	for _, rec := range fresh {
		r.follow(rec)
	}
	for f := range touched {
		if err := r.acknowledge(ctx, l, f); err != nil {
			return err
		}
	}
	return nil
}

// append writes a record that is not there yet, and reports what is odd about it.
func (r *Receiver) append(rec Record) (f *ledgerFile, isNew bool, err error) {
	name := rec.Gateway + "/" + rec.Ledger
	f = r.ledgers[name]
	if f == nil {
		if f, err = createLedger(r.dir, rec.Gateway, rec.Ledger); err != nil {
			return nil, false, err
		}
		r.ledgers[name] = f
	}
	note, isNew, err := f.add(rec)
	if note != "" {
		r.log.Warn(note, "gateway", rec.Gateway, "ledger", rec.Ledger, "seq", rec.Seq)
	}
	return f, isNew, err
}

// acknowledge publishes, retained, up to where the ledger is whole.
func (r *Receiver) acknowledge(ctx context.Context, l *link, f *ledgerFile) error {
	a := uplink.Ack{Ledger: f.ledger, UpTo: f.upTo(), Hash: f.hash()}
	if !r.ack || r.said[f.gateway] == a {
		return nil
	}
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode ack: %w", err)
	}
	if err := l.Publish(ctx, uplink.GatewayTopics(f.gateway).Ack(), true, b); err != nil {
		return err
	}
	r.said[f.gateway] = a
	return nil
}
