package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/errgroup"
)

// Opts is what a Client needs. Everything in it is used from the goroutines of Run.
type Opts struct {
	Gateway string // id: in topics, client id and, without Broker.User, user name
	Broker  Broker
	Session Session // its ClientID and will are the Client's

	List string
	// ListPatience is how long a piece of the list may take to come before it is
	// asked for again, 30 s unless set; retries and the regular look at the head are
	// in proportion.
	ListPatience time.Duration
	Keys         jose.JSONWebKeySet // who may sign the list's head
	// Roots may replace Keys and Commands.Keys; the set in force is kept in KeyStore.
	// Without them the keys stay as they are.
	Roots    jose.JSONWebKeySet
	KeyStore KeyStore
	Store    ListStore
	Ratchet  Ratchet
	Outbox   Outbox

	// Status is published, retained, at every connection, after StatusChanged and
	// once a StatusInterval if it has changed. It must not block.
	Status         func() any
	StatusInterval time.Duration // one minute unless set

	OnList func(ListEvent) // may be nil
	OnAck  func(error)     // an ack was refused, and why, once as long as it is the same; may be nil
	// OnFault is told of State.Fault when it changes; may be nil.
	OnFault func(text string)
	Log     *slog.Logger

	Commands Commands

	// AckTimeout is how long the backend's ack may stand still before records are sent
	// again; an hour unless set, doubled each time, at most a day.
	AckTimeout time.Duration
	// Reconnects wait a random time up to RetryMin·2ⁿ, at most RetryMax; 1 s and 5
	// min unless set. After the loss of a connection the first wait is up to
	// RetryMin·2⁵: all gateways lose a broker at the same moment.
	RetryMin, RetryMax time.Duration
	// FilesInterval is how often the files of Broker are looked at; 20 s unless set.
	// New ones are taken up at once where they can be used and stand still for one more.
	FilesInterval time.Duration
	Now           func() time.Time // time.Now unless set
}

// State is what is known of the connection.
type State struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`              // of the connection, or of its loss
	Attempts  int       `json:"attempts,omitempty"` // without success since then
	Err       string    `json:"error,omitempty"`    // the last one, with what to check
	// Nonce is random for every connection. The status publishes it, and a command
	// must name it.
	Nonce string    `json:"nonce,omitempty"`
	List  ListState `json:"list"`
	Acks  AckState  `json:"acks"`
	// Fault is what needs a person though the gateway is or was connected: another
	// client that takes the connection over, new files that cannot be used.
	Fault string `json:"fault,omitempty"`
}

// AckState is what is known of the backend's acks that lie.
type AckState struct {
	Refused uint64 `json:"refused"` // in this run
	Last    string `json:"lastRefusal,omitempty"`
}

// Client keeps a gateway connected. Its methods are safe for concurrent use.
type Client struct {
	o       Opts
	topics  GatewayTopics
	keys    *keyring
	list    *listSync
	forward *forwarder
	busy    busy
	poke    chan struct{}
	lost    chan struct{} // the list's file was lost

	closed int // connections in a row that the broker closed; of Run's goroutine

	mu     sync.Mutex
	state  State
	faults [faultKinds]string
}

// New checks the options; nothing runs before Run.
func New(o Opts) (*Client, error) {
	if err := errors.Join(CheckID(o.Gateway), CheckID(o.List)); err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	if _, _, _, err := o.Broker.target(); err != nil {
		return nil, err
	}
	if cmd := o.Commands; len(cmd.Keys.Keys) > 0 && (cmd.Spend == nil || cmd.Handle == nil) {
		return nil, errors.New("uplink: commands have keys, and nobody to note or handle them")
	}
	if len(o.Roots.Keys) > 0 && o.KeyStore == nil {
		return nil, errors.New("uplink: there are root keys, and nobody to keep what they sign")
	}
	o = o.withDefaults()
	c := &Client{o: o, topics: GatewayTopics(o.Gateway), poke: make(chan struct{}, 1), lost: make(chan struct{}, 1), keys: newKeyring(o)}
	c.list = &listSync{topics: ListTopics(o.List), keys: c.keys, store: o.Store, ratchet: o.Ratchet, report: o.OnList, now: o.Now, patience: o.ListPatience}
	c.forward = &forwarder{topics: c.topics, out: o.Outbox, log: o.Log, now: o.Now, refuse: c.refuseAck, first: o.AckTimeout, busy: &c.busy}
	c.state.Since, c.state.List.State = o.Now(), "none"
	return c, nil
}

func (o Opts) withDefaults() Opts {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnList == nil {
		o.OnList = func(ListEvent) {}
	}
	if o.OnAck == nil {
		o.OnAck = func(error) {}
	}
	if o.OnFault == nil {
		o.OnFault = func(string) {}
	}
	if o.Status == nil {
		o.Status = func() any { return struct{}{} }
	}
	if o.Commands.Clock == nil {
		o.Commands.Clock = func() (time.Time, bool) { return o.Now(), false }
	}
	if o.StatusInterval == 0 {
		o.StatusInterval = time.Minute
	}
	if o.ListPatience <= 0 {
		o.ListPatience = patience
	}
	if o.AckTimeout <= 0 {
		o.AckTimeout = time.Hour
	}
	if o.RetryMin <= 0 {
		o.RetryMin = time.Second
	}
	if o.RetryMax <= 0 {
		o.RetryMax = 5 * time.Minute
	}
	if o.Broker.User == "" {
		o.Broker.User = o.Gateway
	}
	if o.FilesInterval <= 0 {
		o.FilesInterval = 20 * time.Second
	}
	o.Session.ClientID = o.Gateway
	o.Session.WillTopic, o.Session.Will = GatewayTopics(o.Gateway).Online(), onlineMessage(false)
	return o
}

func onlineMessage(on bool) []byte { return fmt.Appendf(nil, `{"online":%t}`, on) }

// State is a snapshot.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Offline tells whether the broker is out of reach.
func (c *Client) Offline() bool { return !c.State().Connected }

// StatusChanged has the status published soon. It never blocks.
func (c *Client) StatusChanged() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// ListLost has the list fetched again, from whatever the store has now: its file
// was found damaged and begun anew. It never blocks.
func (c *Client) ListLost() {
	select {
	case c.lost <- struct{}{}:
	default:
	}
}

// refuseAck counts an ack that lies, and tells of it unless it says what the last
// one said: who may publish acks could fill a log with them.
func (c *Client) refuseAck(err error) {
	c.mu.Lock()
	known := c.state.Acks.Last == err.Error()
	c.state.Acks = AckState{c.state.Acks.Refused + 1, err.Error()}
	c.mu.Unlock()
	if known {
		return
	}
	c.o.Log.Warn("ack refused", "err", err)
	c.o.OnAck(err)
	c.StatusChanged()
}

// serve runs the loops of one connection; the first to end ends all.
func (c *Client) serve(ctx context.Context, conn *Conn, used fingerprint) error {
	if err := c.keys.load(ctx); err != nil {
		return err
	}
	// Before the status: who reads the nonce in it may command at once.
	if err := conn.Subscribe(ctx, c.topics.Ack(), c.topics.Commands()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	in := inbox{lists: make(chan Incoming, 4*window), acks: make(chan Incoming, window), commands: make(chan Incoming, window)}
	g.Go(func() error {
		select {
		case <-conn.Lost():
			return conn.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	g.Go(func() error {
		if err := c.awaitFiles(ctx, used); err != nil {
			return err
		}
		return errNewFiles
	})
	g.Go(func() error { return c.settled(ctx) })
	g.Go(func() error { return c.dispatch(ctx, conn, in) })
	g.Go(func() error { return c.follow(ctx, conn, in.lists) })
	g.Go(func() error { return c.forward.run(ctx, conn, in.acks) })
	g.Go(func() error { return c.obey(ctx, conn, in.commands) })
	g.Go(func() error { return c.tell(ctx, conn) })
	return g.Wait()
}

// inbox sorts what comes by who takes it.
type inbox struct{ lists, acks, commands chan Incoming }

func (c *Client) dispatch(ctx context.Context, conn *Conn, in inbox) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-conn.Messages():
			var to chan Incoming
			switch {
			case ListTopics(c.o.List).owns(m.Topic):
				to = in.lists
			case m.Topic == c.topics.Ack():
				to = in.acks
			case m.Topic == c.topics.Commands():
				to = in.commands
			default:
				m.Ack() // nothing of ours; unacknowledged it would fill the broker's window
				continue
			}
			select {
			case to <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// follow feeds the list's way here with messages and time.
func (c *Client) follow(ctx context.Context, conn *Conn, lists <-chan Incoming) error {
	work := func(f func() error) error { return c.busy.do("list", f) }
	if err := work(func() error { return c.list.connected(ctx, conn) }); err != nil {
		return err
	}
	for {
		c.noteList()
		t := time.NewTimer(c.list.next().Sub(c.o.Now()))
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case m := <-lists:
			m.Ack() // at once: it is retained, and may take long
			err = work(func() error { return c.list.message(ctx, m.Topic, m.Payload) })
		case <-c.lost:
			err = work(func() error { return c.list.lost(ctx) })
		case <-t.C:
			err = work(func() error { return c.list.tick(ctx) })
		}
		t.Stop()
		if err != nil {
			return err
		}
	}
}

func (c *Client) noteList() {
	c.mu.Lock()
	changed := c.state.List != c.list.state
	c.state.List = c.list.state
	c.mu.Unlock()
	if changed {
		c.StatusChanged()
	}
}

// statusPause keeps a busy gateway from publishing its status all the time.
const statusPause = time.Second

// tell publishes that the gateway is online and how it is.
func (c *Client) tell(ctx context.Context, conn *Conn) error {
	if err := conn.Publish(ctx, c.topics.Online(), true, onlineMessage(true)); err != nil {
		return err
	}
	last := ""
	every := time.NewTicker(c.o.StatusInterval)
	defer every.Stop()
	for {
		b, err := json.Marshal(c.o.Status())
		if err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		if string(b) != last {
			if err := conn.Publish(ctx, c.topics.Status(), true, b); err != nil {
				return err
			}
			last = string(b)
		}
		if err := c.pause(ctx, every.C); err != nil {
			return err
		}
	}
}

// pause waits for a reason to look at the status again.
func (c *Client) pause(ctx context.Context, every <-chan time.Time) error {
	t := time.NewTimer(statusPause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-every:
	case <-c.poke:
	}
	return nil
}
