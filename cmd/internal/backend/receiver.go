package backend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	newest  map[string]*ledgerFile // by gateway: the one that was written last
	log     *slog.Logger
	follow  func(Record)
	at      func(step string)                    // failpoint of the crash tests
	rest    func(context.Context, time.Duration) // between two connections
}

// ReceiverOpts are the ways to receive.
type ReceiverOpts struct {
	// Ack acknowledges; without it a Receiver only keeps a copy.
	Ack bool
	// Follow is told of every new record once it is on disk; may be nil.
	Follow func(Record)
	Log    *slog.Logger
}

// OpenReceiver opens the folder, or makes it, and reads how far each ledger has
// come. Close frees it. Without a folder, "", it keeps nothing and acknowledges
// nothing: Follow is told of all that comes, repeats too.
func OpenReceiver(dir string, o ReceiverOpts) (*Receiver, error) {
	r := &Receiver{dir: dir, ack: o.Ack, log: o.Log, follow: o.Follow, at: func(string) {}, rest: rest}
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
		r.ledgers, err = openLedgers(dir, func(l *ledgerFile, what string) {
			r.log.Warn("ledger is odd", "gateway", l.gateway, "ledger", l.ledger, "what", what)
		})
		r.newest = latest(r.ledgers)
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
	b, err := durable.ReadFile(path)
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
		err = errors.Join(err, l.release())
	}
	return errors.Join(err, r.lock.Close())
}

// The waits between connections: twice as long each time, until one works.
const (
	leastWait = time.Second
	mostWait  = time.Minute
	// stood is how long a connection works that brings nothing.
	stood = time.Minute
)

// Run receives until ctx ends, over as many connections as it takes. It fails
// only when the folder cannot be written: what is not on disk is not acknowledged.
func (r *Receiver) Run(ctx context.Context, b BrokerOpts) error {
	wait := leastWait
	for ctx.Err() == nil {
		worked, err := r.connection(ctx, b)
		if worked {
			wait = leastWait
		}
		var disk *diskError
		if errors.As(err, &disk) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		r.log.Warn("broker out of reach", "err", err)
		r.rest(ctx, wait)
		wait = min(2*wait, mostWait)
	}
	return nil
}

// rest lets a wait pass.
func rest(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// diskError ends Run.
type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }

// connection receives over one connection. It worked if it brought new records and
// took their acknowledgement, or stood a while: a broker that lets us in and closes
// at once, or over the same messages each time, must not be asked every second.
func (r *Receiver) connection(ctx context.Context, b BrokerOpts) (worked bool, err error) {
	// A copy that acknowledges nothing leaves no queue behind on the broker. There is
	// room for all that a broker sends before it wants a PUBACK: mochi-mqtt 8,192.
	l, err := uplink.Dial(ctx, b, uplink.Session{ClientID: r.client, Resume: r.ack, Buffer: 10_000})
	if err != nil {
		return false, err
	}
	defer l.Close()
	if err := l.Subscribe(ctx, uplink.AllEvents); err != nil {
		return false, err
	}
	if err := r.acknowledge(ctx, l, slices.Collect(maps.Keys(r.newest))); err != nil {
		return false, err
	}
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-l.Lost():
			return worked || time.Since(began) > stood, l.Err()
		case m := <-l.Messages():
			fresh, err := r.take(ctx, l, more(m, l.Messages()))
			if err != nil {
				return worked || time.Since(began) > stood, err
			}
			worked = worked || fresh
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

// take commits messages, then tells the broker, then the gateways. isNew is false if
// all of them were known.
func (r *Receiver) take(ctx context.Context, l *uplink.Conn, messages []uplink.Incoming) (isNew bool, err error) {
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
		f := r.ledger(rec)
		touched[f] = true
		isNew, err := r.append(f, rec)
		if err != nil {
			return false, &diskError{fmt.Errorf("write ledger %s: %w", f.path, err)}
		}
		if isNew {
			fresh, r.newest[f.gateway] = append(fresh, rec), f
		}
	}
	if err := release(touched); err != nil {
		return false, &diskError{err}
	}
	r.at("synced")
	for _, m := range messages {
		m.Ack()
	}
	r.at("taken")
	for _, rec := range fresh {
		r.follow(rec)
	}
	gateways := make(map[string]bool)
	for f := range touched {
		gateways[f.gateway] = true
	}
	return len(fresh) > 0, r.acknowledge(ctx, l, slices.Collect(maps.Keys(gateways)))
}

// release makes what was written to ledgers last, some at a time: a disk takes many
// flushes in little more than the time of one.
func release(ledgers map[*ledgerFile]bool) error {
	var g errgroup.Group
	g.SetLimit(8)
	for l := range ledgers {
		g.Go(func() error {
			if err := l.release(); err != nil {
				return fmt.Errorf("write ledger %s: %w", l.path, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// ledger is what a record belongs to.
func (r *Receiver) ledger(rec Record) *ledgerFile {
	name := rec.Gateway + "/" + rec.Ledger
	if r.ledgers[name] == nil {
		r.ledgers[name] = newLedgerFile(r.dir, rec.Gateway, rec.Ledger)
	}
	return r.ledgers[name]
}

// append writes a record that is not there yet, and reports what is odd about it.
func (r *Receiver) append(f *ledgerFile, rec Record) (isNew bool, err error) {
	note, isNew, err := f.add(rec)
	r.at("written")
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

// acknowledge publishes, retained, up to where the newest ledger of each gateway is
// whole. To say it again is to say that the rest is missing.
func (r *Receiver) acknowledge(ctx context.Context, l *uplink.Conn, gateways []string) error {
	if !r.ack {
		return nil
	}
	var acks []uplink.Outgoing
	for _, gateway := range gateways {
		f := r.newest[gateway]
		if f == nil {
			continue // nothing of it was ever kept
		}
		b, err := json.Marshal(uplink.Ack{Ledger: f.ledger, UpTo: f.upTo, Hash: f.hash})
		if err != nil {
			return fmt.Errorf("encode ack: %w", err)
		}
		acks = append(acks, uplink.Outgoing{Topic: uplink.GatewayTopics(gateway).Ack(), Retained: true, Payload: b})
	}
	if len(acks) == 0 {
		return nil
	}
	err := l.PublishAll(ctx, acks...)
	r.at("acknowledged")
	return err
}
