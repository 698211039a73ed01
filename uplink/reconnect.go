package uplink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Run connects, and connects again, until ctx ends; then it says goodbye and
// returns nil. A broker that is away or refuses is a State, not an error.
func (c *Client) Run(ctx context.Context) error {
	failed := 0 // attempts in a row that gave no connection to speak of
	for {
		used, began := c.o.Broker.fingerprint(), c.o.Now()
		connected, err := c.connection(ctx, used)
		if ctx.Err() != nil {
			return nil
		}
		lasted := c.o.Now().Sub(began)
		if connected && lasted > time.Minute {
			failed = 0
		}
		n := failed
		switch failed++; {
		case errors.Is(err, errNewFiles):
			n = 0
		case connected:
			n = max(n, lossSpread)
			err = c.lostAfter(lasted, err)
		}
		c.disconnected(err, connected)
		if !c.rest(ctx, jitter(c.o.RetryMin, c.o.RetryMax, n), used) {
			return nil
		}
	}
}

// lossSpread is the n of the first wait after a loss, see Opts.RetryMin.
const lossSpread = 5

// rest lets a wait pass, less if new files come meanwhile; false is the end.
func (c *Client) rest(ctx context.Context, wait time.Duration, used fingerprint) bool {
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_ = c.awaitFiles(until, used)
	return ctx.Err() == nil
}

// errNewFiles ends a connection so that the next is made with other files.
var errNewFiles = errors.New("certificate or password was replaced")

// awaitFiles returns nil once the broker's files are others than those used, can be
// used, and have stood still for a FilesInterval: whoever replaces certificate and
// key writes one after the other. What cannot be used is a fault, no reason to leave
// a connection that works.
func (c *Client) awaitFiles(ctx context.Context, used fingerprint) error {
	t := time.NewTicker(c.o.FilesInterval)
	defer t.Stop()
	for last := used; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		now := c.o.Broker.fingerprint()
		stable := now == last
		if last = now; !stable {
			continue
		}
		err := c.o.Broker.usable()
		switch {
		case now == used:
			c.fault(faultFiles, "")
		case err != nil:
			c.fault(faultFiles, fmt.Sprintf("the new certificate, key or password cannot be used, the old ones are until the connection ends: %v", err))
		default:
			c.fault(faultFiles, "")
			return nil
		}
	}
}

// The faults that State.Fault may have.
const (
	faultTakeover = iota
	faultFiles
	faultKinds
)

// fault notes what is wrong with one thing, "" for nothing, and tells if that is new.
func (c *Client) fault(kind int, text string) {
	c.mu.Lock()
	changed := c.faults[kind] != text
	c.faults[kind] = text
	all := ""
	for _, f := range c.faults {
		if f != "" && all != "" {
			all += "; "
		}
		all += f
	}
	c.state.Fault = all
	c.mu.Unlock()
	if !changed {
		return
	}
	if text != "" {
		c.o.Log.Error("broker fault", "fault", text)
	}
	c.o.OnFault(all)
	c.StatusChanged()
}

// A second client with our id is recognised by what it does. MQTT 3.1.1 has a broker
// close the older connection without a word (3.1.4), so each of the two kicks the
// other out in turns: connections that work, and that the broker closes.
const (
	// takeoverAfter closed connections it is said. A broker that restarts closes one.
	takeoverAfter = 3
	// stood is longer than the other one's longest wait, if it is of our make.
	stood = 15 * time.Minute
)

// lostAfter judges the end of a connection, and puts the suspicion into words.
func (c *Client) lostAfter(lasted time.Duration, err error) error {
	switch {
	case lasted >= stood:
		c.closed = 0
	case hungUp(err):
		c.closed++
	}
	if c.closed < takeoverAfter {
		c.fault(faultTakeover, "")
		return err
	}
	c.fault(faultTakeover, fmt.Sprintf("the broker closed %d connections in a row: is another client connected as %q, "+
		"a board with a copy of this card? Give each gateway its own id and credentials; else look into the broker's log", c.closed, c.o.Gateway))
	return fmt.Errorf("%w (is another client connected as %q?)", err, c.o.Gateway)
}

// settled takes the suspicion back once a connection has stood.
func (c *Client) settled(ctx context.Context) error {
	t := time.NewTimer(stood)
	defer t.Stop()
	select {
	case <-t.C:
		c.fault(faultTakeover, "")
		<-ctx.Done()
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (c *Client) connected() {
	c.mu.Lock()
	c.state.Connected, c.state.Since, c.state.Nonce = true, c.o.Now(), rand.Text()
	c.state.Attempts, c.state.Err = 0, ""
	c.mu.Unlock()
	c.o.Log.Info("broker connected", "url", c.o.Broker.URL)
}

func (c *Client) disconnected(err error, was bool) {
	c.mu.Lock()
	changed := err.Error() != c.state.Err
	if was {
		c.state.Since = c.o.Now()
	}
	c.state.Connected, c.state.Nonce, c.state.Err = false, "", err.Error()
	c.state.Attempts++
	c.mu.Unlock()
	switch {
	case errors.Is(err, errNewFiles):
		c.o.Log.Info("broker left", "why", err)
	case changed:
		c.o.Log.Warn("broker out of reach", "err", err)
	}
}

// connection lives from one connect to the loss of it. Its error is never nil.
func (c *Client) connection(ctx context.Context, used fingerprint) (connected bool, err error) {
	var conn *Conn
	err = c.busy.do("connect", func() (err error) {
		conn, err = Dial(ctx, c.o.Broker, c.o.Session)
		return err
	})
	if err != nil {
		return false, err
	}
	defer c.busy.do("disconnect", func() error {
		conn.Close()
		return nil
	})
	c.connected()
	err = c.serve(ctx, conn, used)
	if ctx.Err() != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Publish(bye, c.topics.Online(), true, onlineMessage(false))
	}
	if lost := conn.Err(); lost != nil && ctx.Err() == nil {
		err = lost // whoever saw it first
	}
	return true, err
}
