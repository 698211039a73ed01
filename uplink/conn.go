package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Session is how a connection behaves. The zero value of each duration is a
// good one for a gateway on a mobile network.
type Session struct {
	ClientID string
	// Resume has the broker keep subscriptions, and messages that come meanwhile, for
	// the next connection of that client id. A Client never does: what it fetches is
	// retained, and its own outbox is what it trusts.
	Resume bool
	// Will is published, retained, when the connection ends without Close.
	WillTopic string
	Will      []byte
	// KeepAlive is 30 s, WriteTimeout 5 s, ConnectTimeout 20 s unless set; a broker
	// that takes nothing is noticed within the second, one that is silent within
	// about one and a half of the first.
	KeepAlive, WriteTimeout, ConnectTimeout time.Duration
	// AnswerTimeout is how long a broker may take for a PUBACK, SUBACK or UNSUBACK; 20 s
	// unless set.
	AnswerTimeout time.Duration
	// Buffer is how many messages wait in Messages; 256 unless set. It must exceed what
	// the broker sends without PUBACK (Mosquitto: 20).
	Buffer int
}

// Incoming is one message from the broker. Ack is due once it has had its effect.
type Incoming struct {
	Topic    string
	Payload  []byte
	Retained bool
	m        mqtt.Message
}

// Ack sends the PUBACK. It may come from any goroutine, on the message's own
// connection; later it does nothing.
func (m Incoming) Ack() { m.m.Ack() }

// Conn is one connection to a broker; once lost it stays lost. paho completes the
// tokens of lost messages without an error when it may reconnect
// (eclipse-paho/paho.mqtt.golang issue 458), so it may not. Methods are safe for
// concurrent use.
type Conn struct {
	client   mqtt.Client
	in       chan Incoming
	once     sync.Once
	lost     chan struct{} // closed by fail
	err      error         // why; read after lost
	patience time.Duration // with a full buffer
	answer   time.Duration // for an answer of the broker
}

// ErrCredentials is what Dial wraps when the broker knows neither certificate nor password.
var ErrCredentials = errors.New("broker refuses the credentials")

// Dial connects. The error says what to check.
func Dial(ctx context.Context, b Broker, s Session) (*Conn, error) {
	s = s.withDefaults()
	if _, _, _, err := b.target(); err != nil {
		return nil, err
	}
	password, err := b.password()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.ConnectTimeout)
	defer cancel()
	c := &Conn{in: make(chan Incoming, s.Buffer), lost: make(chan struct{}), patience: s.WriteTimeout, answer: s.AnswerTimeout}
	c.client = mqtt.NewClient(c.options(ctx, b, s).SetUsername(b.User).SetPassword(password))
	t := c.client.Connect()
	select {
	case <-t.Done():
		err = t.Error()
	case <-ctx.Done():
		err = fmt.Errorf("no answer: %w", ctx.Err())
	}
	if err != nil {
		c.client.Disconnect(0)
		return nil, connectError(err, b, s)
	}
	return c, nil
}

func (s Session) withDefaults() Session {
	orElse := func(d *time.Duration, other time.Duration) {
		if *d == 0 {
			*d = other
		}
	}
	orElse(&s.KeepAlive, 30*time.Second)
	orElse(&s.WriteTimeout, 5*time.Second)
	orElse(&s.ConnectTimeout, 20*time.Second)
	orElse(&s.AnswerTimeout, 20*time.Second)
	if s.Buffer == 0 {
		s.Buffer = 256
	}
	return s
}

func (c *Conn) options(ctx context.Context, b Broker, s Session) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker(b.URL).SetClientID(s.ClientID).
		SetProtocolVersion(4).SetCleanSession(!s.Resume).SetAutoReconnect(false).SetConnectRetry(false).
		SetStore(mqtt.NewMemoryStore()).SetOrderMatters(true).SetAutoAckDisabled(true).
		SetKeepAlive(s.KeepAlive).SetPingTimeout(s.KeepAlive / 3).
		SetWriteTimeout(s.WriteTimeout).SetConnectTimeout(s.ConnectTimeout).
		SetDefaultPublishHandler(c.receive).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.fail(err) }).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			n, err := b.open(ctx)
			if err != nil {
				return nil, err
			}
			return newPacketGuard(n, s.WriteTimeout, c.fail), nil
		})
	if s.WillTopic != "" {
		o.SetBinaryWill(s.WillTopic, s.Will, 1, true)
	}
	return o
}

func connectError(err error, b Broker, s Session) error {
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return fmt.Errorf("connect to %s: %w: %w\nhint: ask the broker's operator whether user %q may log in, with this password or client certificate",
			b.URL, ErrCredentials, err, b.User)
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Errorf("connect to %s: broker refuses the client id %q: %w", b.URL, s.ClientID, err)
	}
	text := hint(err)
	if text == "" && hungUp(err) && !strings.Contains(err.Error(), "\nhint: ") {
		switch network, _, secure, _ := b.target(); {
		case secure: // after the handshake: TLS 1.3 refuses a client's certificate then, and the alert may be lost
			text = "\nhint: the broker hung up: if it wants a client certificate, check broker.cert and broker.key"
		case network == "tcp":
			text = "\nhint: the broker hung up: check that the port in broker.url takes MQTT without TLS; else it wants tls://"
		}
	}
	return fmt.Errorf("connect to %s: %w%s", b.URL, err, text)
}

// hungUp tells whether the other end closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// receive runs on paho's goroutine. It waits for room, but not so long that the
// keep-alive suffers: paho answers no ping while a handler blocks.
func (c *Conn) receive(_ mqtt.Client, m mqtt.Message) {
	in := Incoming{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), m: m}
	select {
	case c.in <- in:
		return
	case <-c.lost:
		return
	default:
	}
	t := time.NewTimer(c.patience)
	defer t.Stop()
	select {
	case c.in <- in:
	case <-c.lost:
	case <-t.C:
		c.fail(errors.New("messages come faster than they can be stored"))
	}
}

func (c *Conn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.lost)
	})
}

// Lost is closed when the connection is over.
func (c *Conn) Lost() <-chan struct{} { return c.lost }

// Err is why the connection is over; nil before.
func (c *Conn) Err() error {
	select {
	case <-c.lost:
		return fmt.Errorf("connection lost: %w", c.err)
	default:
		return nil
	}
}

// Messages gives what was received, in order. It is never closed: see Lost.
func (c *Conn) Messages() <-chan Incoming { return c.in }

// Publish sends at QoS 1 and waits for the PUBACK of this very connection: the
// broker has taken the message, and may still lose it or drop it silently where
// its access list says so.
func (c *Conn) Publish(ctx context.Context, topic string, retained bool, payload []byte) error {
	_, err := c.publish(ctx, topic, retained, payload)
	return err
}

// Outgoing is a message to be published.
type Outgoing struct {
	Topic    string
	Retained bool
	Payload  []byte
}

// PublishAll is Publish for many messages, in order.
func (c *Conn) PublishAll(ctx context.Context, messages ...Outgoing) error {
	tokens := c.start(len(messages), func(i int) mqtt.Token {
		return c.client.Publish(messages[i].Topic, 1, messages[i].Retained, messages[i].Payload)
	})
	for _, m := range messages {
		if _, err := c.await(ctx, tokens); err != nil {
			return fmt.Errorf("publish %s: %w", m.Topic, err)
		}
	}
	return nil
}

// publish sends messages in order without waiting between them, and returns how
// many of them, from the first, the broker has taken.
func (c *Conn) publish(ctx context.Context, topic string, retained bool, payloads ...[]byte) (taken int, err error) {
	tokens := c.start(len(payloads), func(i int) mqtt.Token { return c.client.Publish(topic, 1, retained, payloads[i]) })
	for range payloads {
		if _, err := c.await(ctx, tokens); err != nil {
			return taken, fmt.Errorf("publish %s: %w", topic, err)
		}
		taken++
	}
	return taken, nil
}

// inFlight is how many calls may wait for their answers: Mosquitto's
// max_inflight_messages, the smallest that there is.
const inFlight = 20

// start makes n calls of paho, one after the other, apart from its caller: on a
// connection that breaks at that moment each of them may block for the write
// timeout. The next is made as soon as the oldest was answered: to wait for a whole
// window would meet a broker that holds its small packets back (RFC 896) and a
// kernel that delays its acknowledgements (RFC 1122, 4.2.3.2), 40 ms each time.
func (c *Conn) start(n int, call func(i int) mqtt.Token) <-chan mqtt.Token {
	tokens := make(chan mqtt.Token, min(n, inFlight-2)) // one more is awaited, one being made
	go func() {
		for i := 0; i < n && c.Err() == nil; i++ {
			select {
			case tokens <- call(i):
			case <-c.lost:
			}
		}
	}()
	return tokens
}

// await waits for the next call and for its answer.
func (c *Conn) await(ctx context.Context, tokens <-chan mqtt.Token) (t mqtt.Token, err error) {
	timer := time.NewTimer(c.answer)
	defer timer.Stop()
	var done <-chan struct{}
	for {
		select {
		case t = <-tokens:
			tokens, done = nil, t.Done()
		case <-done:
			return t, t.Error()
		case <-c.lost:
			return nil, c.Err()
		case <-timer.C:
			return nil, errors.New("broker does not answer")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// mochi-mqtt 2.7.9 answers a SUBSCRIBE with a code that MQTT 3.1.1 does not know
// when the packet id, which is ours to choose, is also that of a message on its way
// to us. Another attempt has another id; a resumed session may have many of theirs.
const (
	codeIDInUse = 0x91
	idTries     = 2000
)

// Subscribe asks for the topics at QoS 1, each in a packet of its own without
// waiting between them, and waits for the SUBACKs.
func (c *Conn) Subscribe(ctx context.Context, topics ...string) error {
	for try := 1; len(topics) > 0; try++ {
		codes, err := c.subscribe(ctx, topics)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", topics[0], err)
		}
		var again []string
		for i, code := range codes {
			switch {
			case code <= 2:
			case code == codeIDInUse && try < idTries:
				again = append(again, topics[i])
			default:
				return fmt.Errorf("subscribe %s: broker refuses with code %#x (check its access list)", topics[i], code)
			}
		}
		topics = again
	}
	return nil
}

func (c *Conn) subscribe(ctx context.Context, topics []string) (codes []byte, err error) {
	tokens := c.start(len(topics), func(i int) mqtt.Token { return c.client.Subscribe(topics[i], 1, nil) })
	for _, topic := range topics {
		token, err := c.await(ctx, tokens)
		if err != nil {
			return nil, err
		}
		codes = append(codes, token.(*mqtt.SubscribeToken).Result()[topic])
	}
	return codes, nil
}

// Unsubscribe waits for the UNSUBACK.
func (c *Conn) Unsubscribe(ctx context.Context, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	if _, err := c.await(ctx, c.start(1, func(int) mqtt.Token { return c.client.Unsubscribe(topics...) })); err != nil {
		return fmt.Errorf("unsubscribe %s: %w", topics[0], err)
	}
	return nil
}

// Close ends the connection in good order: the will is not published.
func (c *Conn) Close() {
	c.fail(net.ErrClosed)
	c.client.Disconnect(100)
}
