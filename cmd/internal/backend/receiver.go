package backend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"badged/cmd/internal/durable"
	"badged/uplink"
)

// Receiver commits the records of gateways to files and acknowledges them.
type Receiver struct {
	dir     string
	ack     bool
	client  string // id, the same as long as the folder lives
	lock    *os.File
	ledgers map[string]*ledgerFile // by gateway/ledger
	log     *slog.Logger
	follow  func(Record)
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
// come. Close frees it. Without a folder, "", it keeps nothing and acknowledges
// nothing: Follow is told of all that comes, repeats too.
func OpenReceiver(dir string, o ReceiverOpts) (*Receiver, error) {
	r := &Receiver{dir: dir, ack: o.Ack, log: o.Log, follow: o.Follow}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.follow == nil {
		r.follow = func(Record) {}
	}
	if dir == "" {
		if o.Ack {
			return nil, errors.New("open receiver: without a folder nothing is kept, so nothing may be acknowledged")
		}
		r.client = "badgectl-events-" + rand.Text()[:8]
		return r, nil
	}
	l, err := lock(dir)
	if err != nil {
		return nil, err
	}
	r.lock = l
	if r.client, err = clientID(dir); err == nil {
		r.ledgers, err = openLedgers(dir)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return r, nil
}

// clientID is made once for a folder: under it the broker keeps what comes while
// the receiver is away.
func clientID(dir string) (string, error) {
	path := filepath.Join(dir, "client-id")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte("badgectl-events-" + rand.Text()[:8])
		err = durable.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("open store: %w", err)
	}
	return string(b), nil
}

// Close frees the folder.
func (r *Receiver) Close() error {
	if r.lock == nil {
		return nil
	}
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
		began := time.Now()
		err := r.connection(ctx, b)
		if time.Since(began) > time.Minute {
			wait = time.Second // it was a good connection
		}
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
	// A copy that acknowledges nothing leaves no queue behind on the broker.
	l, err := uplink.Dial(ctx, b, uplink.Session{ClientID: r.client, Resume: r.ack, Buffer: 10_000})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Subscribe(ctx, uplink.AllEvents); err != nil {
		return err
	}
	for _, f := range latest(r.ledgers) {
		if err := r.acknowledge(ctx, l, f); err != nil {
			return err
		}
	}
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
func (r *Receiver) take(ctx context.Context, l *uplink.Conn, messages []uplink.Incoming) error {
	touched := make(map[*ledgerFile]bool)
	var fresh []Record
	for _, m := range messages {
		rec, err := parseRecord(m.Topic, m.Payload)
		if err != nil {
			r.log.Warn("message refused", "topic", m.Topic, "err", err)
			continue
		}
		if r.dir == "" {
			fresh = append(fresh, rec)
			continue
		}
		f, err := r.ledger(rec)
		if err != nil {
			return &diskError{err}
		}
		touched[f] = true
		isNew, err := r.append(f, rec)
		if err != nil {
			return &diskError{err}
		}
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

// ledger opens the file that a record belongs to.
func (r *Receiver) ledger(rec Record) (*ledgerFile, error) {
	name := rec.Gateway + "/" + rec.Ledger
	if f := r.ledgers[name]; f != nil {
		return f, nil
	}
	f, err := createLedger(r.dir, rec.Gateway, rec.Ledger)
	if err == nil {
		r.ledgers[name] = f
	}
	return f, err
}

// append writes a record that is not there yet, and reports what is odd about it.
func (r *Receiver) append(f *ledgerFile, rec Record) (isNew bool, err error) {
	note, isNew, err := f.add(rec)
	if note != "" {
		r.log.Warn(note, "gateway", rec.Gateway, "ledger", rec.Ledger, "seq", rec.Seq)
	}
	return isNew, err
}

// latest picks the ledger of each gateway that was written last.
func latest(ledgers map[string]*ledgerFile) map[string]*ledgerFile {
	newest := make(map[string]*ledgerFile)
	for _, f := range ledgers {
		if n := newest[f.gateway]; n == nil || f.written.After(n.written) {
			newest[f.gateway] = f
		}
	}
	return newest
}

// acknowledge publishes, retained, up to where the ledger is whole. To say it
// again is to say that the rest is missing.
func (r *Receiver) acknowledge(ctx context.Context, l *uplink.Conn, f *ledgerFile) error {
	if !r.ack {
		return nil
	}
	b, err := json.Marshal(uplink.Ack{Ledger: f.ledger, UpTo: f.upTo(), Hash: f.hash()})
	if err != nil {
		return fmt.Errorf("encode ack: %w", err)
	}
	return l.Publish(ctx, uplink.GatewayTopics(f.gateway).Ack(), true, b)
}
