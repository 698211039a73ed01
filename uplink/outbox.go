package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"badged/session"
)

// Outbox is the ledger as far as sending goes. One goroutine calls it.
type Outbox interface {
	// Unsent gives the records to send next, oldest first: those above the mark
	// taken, and where there is none those that are to be sent again. They stay the
	// same until Taken.
	Unsent(ctx context.Context, limit int) ([]session.Message, error)
	// Taken notes that a broker has what Unsent gave, up to and including seq.
	Taken(ctx context.Context, ledger string, seq uint64) error
	// Acknowledge moves the mark committed to where the backend says it is, back too.
	// It refuses with session.ErrOtherLedger, ErrBeyondEnd or ErrOtherHash.
	Acknowledge(ctx context.Context, ledger string, upTo uint64, hash string) error
	// Rewind has the records from one to another, both included, sent again after
	// any new ones.
	Rewind(ctx context.Context, from, to uint64) error
	// Outbox tells the marks.
	Outbox(ctx context.Context) (session.Outbox, error)
	// Changed wakes whoever sends, after a commit that added records or telemetry.
	Changed() <-chan struct{}
	// NextTelemetry gives the oldest entries of the ring: Seq is the place there,
	// Record the JSON. DropTelemetry removes what was sent, up to and including upTo.
	NextTelemetry(ctx context.Context, limit int) ([]session.Message, error)
	DropTelemetry(ctx context.Context, upTo uint64) error
}

const (
	drainBatch     = 200         // records between two marks of what a broker has: each mark is a flush of the disk
	replayWindow   = 20          // records that a broker had before, between two pauses
	telemetryPause = time.Minute // after telemetry that was sent could not be dropped
	replayPause    = time.Second // between windows of records that a broker had before
	standLongest   = 24 * time.Hour
	standGrace     = time.Minute // for the retained ack to arrive on a new connection
)

// carrier takes messages to the broker, as Conn does.
type carrier interface {
	publish(ctx context.Context, topic string, retained bool, payloads ...[]byte) (taken int, err error)
}

// forwarder sends the ledger in order. It outlives connections.
type forwarder struct {
	topics GatewayTopics
	out    Outbox
	log    *slog.Logger
	now    func() time.Time
	refuse func(error) // an ack that was refused
	busy   *busy       // of the client

	first  time.Duration // how long the ack may stand still at first
	stands time.Time     // since when it does
	wait   time.Duration // how long it may by now
	again  time.Time     // from when on an ack may ask for the rest
	pause  time.Duration // how long it may not after that
	paced  time.Time     // from when on the next window may be sent again
	top    uint64        // the highest record that any broker has taken
	ledger string        // of top
}

// run sends until the connection or the outbox fails. Acks come to it from the
// broker, so that one goroutine owns the marks.
func (f *forwarder) run(ctx context.Context, conn carrier, acks <-chan Incoming) error {
	if f.wait == 0 {
		f.moved()
	}
	o, err := f.out.Outbox(ctx)
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	f.note(o.Ledger, o.Taken)
	if soon := f.now().Add(min(standGrace, f.first) - f.wait); f.stands.Before(soon) {
		f.stands = soon
	}
	for {
		var wait time.Duration
		err := f.work(func() (err error) {
			wait, err = f.send(ctx, conn)
			return err
		})
		if err != nil {
			return err
		}
		if err := f.idle(ctx, acks, wait); err != nil {
			return err
		}
	}
}

func (f *forwarder) work(do func() error) error { return f.busy.do("ledger", do) }

// forever stands for nothing being due.
const forever = time.Duration(1<<63 - 1)

// idle waits until there is something to send, at most for wait.
func (f *forwarder) idle(ctx context.Context, acks <-chan Incoming, wait time.Duration) error {
	still := f.stands.Add(f.wait).Sub(f.now())
	t := time.NewTimer(min(wait, still))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m := <-acks:
		return f.work(func() error { return f.acknowledge(ctx, m) })
	case <-f.out.Changed():
	case <-t.C:
		if still <= wait {
			return f.work(func() error { return f.stoodStill(ctx) })
		}
	}
	return nil
}

// send hands one batch of records to the broker and waits for its PUBACKs. It
// returns how long the next window may wait. Windows that a broker had before are a
// pause apart, whatever comes meanwhile: new records do not wait for them, nor does
// telemetry.
func (f *forwarder) send(ctx context.Context, conn carrier) (wait time.Duration, err error) {
	batch, err := f.out.Unsent(ctx, drainBatch)
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	if len(batch) == 0 {
		return f.sendTelemetry(ctx, conn)
	}
	if first := batch[0]; first.Ledger == f.ledger && first.Seq <= f.top {
		if early := f.paced.Sub(f.now()); early > 0 {
			wait, err = f.sendTelemetry(ctx, conn)
			return min(wait, early), err
		}
		f.paced = f.now().Add(replayPause)
		batch = batch[:min(len(batch), replayWindow)]
	}
	payloads := make([][]byte, len(batch))
	for i, m := range batch {
		payloads[i] = EventMessage(m)
	}
	taken, lost := conn.publish(ctx, f.topics.Events(), false, payloads...)
	if taken > 0 {
		last := batch[taken-1]
		// Even when ctx has ended: what the broker has need not be sent again.
		if err := f.out.Taken(context.WithoutCancel(ctx), last.Ledger, last.Seq); err != nil {
			return 0, fmt.Errorf("note records taken: %w", err)
		}
		f.note(last.Ledger, last.Seq)
	}
	if lost != nil {
		return 0, fmt.Errorf("send record: %w", lost)
	}
	return 0, nil
}

// sendTelemetry sends what may be lost, once all that is billed is gone.
func (f *forwarder) sendTelemetry(ctx context.Context, conn carrier) (wait time.Duration, err error) {
	batch, err := f.out.NextTelemetry(ctx, replayWindow)
	if err != nil {
		return 0, fmt.Errorf("read telemetry: %w", err)
	}
	if len(batch) == 0 {
		return forever, nil
	}
	payloads := make([][]byte, len(batch))
	for i, m := range batch {
		payloads[i] = m.Record
	}
	if _, err := conn.publish(ctx, f.topics.Telemetry(), false, payloads...); err != nil {
		return 0, fmt.Errorf("send telemetry: %w", err)
	}
	if err := f.out.DropTelemetry(ctx, batch[len(batch)-1].Seq); err != nil {
		// It will go out twice; a full disk is no reason to leave the broker.
		f.log.Warn("telemetry not dropped", "err", err)
		return telemetryPause, nil
	}
	return 0, nil
}

func (f *forwarder) note(ledger string, taken uint64) {
	if ledger != f.ledger {
		f.ledger, f.top = ledger, 0
	}
	f.top = max(f.top, taken)
}

// EventMessage is what goes out for a record: readable JSON around the very bytes
// that were hashed.
func EventMessage(m session.Message) []byte {
	b := append(make([]byte, 0, len(m.Record)+len(m.Time)+200), `{"v":1,"ledger":`...)
	b = strconv.AppendQuote(b, m.Ledger)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, m.Seq, 10)
	b = append(b, `,"hash":`...)
	b = strconv.AppendQuote(b, m.Hash)
	b = append(b, `,"record":`...)
	b = append(b, m.Record...)
	if len(m.Time) > 0 {
		b = append(b, `,"time":`...)
		b = append(b, m.Time...)
	}
	return append(b, '}')
}

// Ack is the backend's word that it has every record up to and including UpTo. One
// that is published again as it was says that what is above is missing: it is
// sent again at once; then not for a minute, two, up to a day, until an ack moves.
// What is said too soon counts when that time is over.
type Ack struct {
	Ledger string `json:"ledger"`
	UpTo   uint64 `json:"upTo"`
	Hash   string `json:"hash"` // of that record
}

func parseAck(b []byte) (Ack, error) {
	var a Ack
	if len(b) > maxHead {
		return a, fmt.Errorf("ack of %d bytes", len(b))
	}
	if err := unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("ack: %w", err)
	}
	if err := require(b, "ledger", "upTo", "hash"); err != nil {
		return a, fmt.Errorf("ack: %w", err)
	}
	return a, nil
}

func (f *forwarder) acknowledge(ctx context.Context, m Incoming) error {
	defer m.Ack()
	if len(m.Payload) == 0 {
		return nil // cleared
	}
	a, err := parseAck(m.Payload)
	if err != nil {
		f.refuse(err)
		return nil
	}
	before, err := f.out.Outbox(ctx)
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	switch err := f.out.Acknowledge(ctx, a.Ledger, a.UpTo, a.Hash); {
	case errors.Is(err, session.ErrOtherLedger), errors.Is(err, session.ErrBeyondEnd), errors.Is(err, session.ErrOtherHash):
		f.refuse(fmt.Errorf("ack up to %d of ledger %.64q: %w", a.UpTo, a.Ledger, err))
	case err != nil:
		return fmt.Errorf("note records committed: %w", err)
	case a.UpTo != before.Committed:
		f.moved()
	case m.Retained || before.Committed == before.Taken:
	case f.now().Before(f.again):
		f.wait = min(f.wait, f.again.Sub(f.stands)) // too soon: then
	default:
		return f.rewind(ctx, before)
	}
	return nil
}

func (f *forwarder) moved() { f.stands, f.wait, f.pause = f.now(), f.first, standGrace }

// stoodStill goes back to what the backend has: the broker may have lost the
// rest after its PUBACK.
func (f *forwarder) stoodStill(ctx context.Context) error {
	o, err := f.out.Outbox(ctx)
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	if o.Committed == o.Taken {
		f.moved()
		return nil
	}
	f.stands, f.wait = f.now(), min(max(2*f.wait, f.pause), standLongest)
	return f.rewind(ctx, o)
}

// rewind has everything above the mark committed sent again.
func (f *forwarder) rewind(ctx context.Context, o session.Outbox) error {
	f.again, f.pause = f.now().Add(f.pause), min(2*f.pause, standLongest)
	f.log.Warn("backend lacks records, sending again", "from", o.Committed+1, "to", o.Taken)
	if err := f.out.Rewind(ctx, o.Committed+1, o.Taken); err != nil {
		return fmt.Errorf("send again: %w", err)
	}
	return nil
}
