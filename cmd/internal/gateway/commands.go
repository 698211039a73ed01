package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"badged/cmd/internal/config"
	"badged/mifare"
	"badged/session"
	"badged/uplink"
)

// orderTimeout is how long a station's decision may take; longer ones come too
// late for whoever asked.
const orderTimeout = 10 * time.Second

// orderArgs are the arguments of all commands; each takes its own.
type orderArgs struct {
	Station string `json:"station"`
	UID     string `json:"uid"`
	Reader  string `json:"reader"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
}

// order carries one command out.
type order func(ctx context.Context, a orderArgs) (uplink.Reply, error)

// orders are the commands of the contract. Those that are slow wait for
// something in the world and must not keep other commands waiting.
func (g *gateway) orders() map[string]struct {
	do   order
	slow bool
} {
	return map[string]struct {
		do   order
		slow bool
	}{
		"resend":         {do: g.resend},
		"start":          {do: g.startStation},
		"stop":           {do: g.decide(session.CommandStop)},
		"enable":         {do: g.decide(session.CommandEnable)},
		"disable":        {do: g.decide(session.CommandDisable)},
		"blink":          {do: g.showItself},
		"enrol":          {g.enrolForBackend, true},
		"restart-reader": {g.restartReader, true},
	}
}

// commands is how the uplink takes commands for this gateway.
func (g *gateway) commands() (uplink.Commands, error) {
	c := uplink.Commands{Spend: g.ledger.Spend, Handle: g.obey, Clock: func() (time.Time, bool) {
		at := g.clock.Stamp()
		return at.Wall, at.Clock == session.ClockSynced
	}}
	if g.cfg.CommandKeys == "" {
		return c, nil
	}
	var err error
	c.Keys, err = config.LoadKeys("command keys", g.cfg.CommandKeys)
	return c, err
}

// obey carries a command out that was checked, in its order.
func (g *gateway) obey(ctx context.Context, c uplink.Command, answer func(uplink.Reply)) {
	o, ok := g.orders()[c.Command]
	if !ok {
		answer(uplink.Reply{Error: fmt.Sprintf("unknown command %.40q", c.Command)})
		return
	}
	a, err := readArgs(c.Args)
	if err != nil {
		answer(uplink.Reply{Error: err.Error()})
		return
	}
	do := func() {
		r, err := o.do(ctx, a)
		if err != nil {
			r.Error = err.Error()
		}
		r.OK = err == nil && r.Reason == ""
		g.log.Info("command done", "id", c.ID, "command", c.Command, "ok", r.OK, "reason", r.Reason, "err", err)
		answer(r)
	}
	if o.slow {
		go do() // until the connection ends at the latest
		return
	}
	do()
}

// readArgs is strict: a command whose argument is misspelt does nothing at all.
func readArgs(b []byte) (a orderArgs, err error) {
	if len(b) == 0 {
		return a, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("arguments: %w", err)
	}
	return a, nil
}

func (g *gateway) resend(ctx context.Context, a orderArgs) (uplink.Reply, error) {
	if a.To != 0 && a.From > a.To {
		return uplink.Reply{}, fmt.Errorf("resend from %d to %d: want from up to to; 0 is the first not acknowledged, and the last", a.From, a.To)
	}
	return uplink.Reply{}, g.ledger.Rewind(ctx, a.From, a.To)
}

func (g *gateway) startStation(ctx context.Context, a orderArgs) (uplink.Reply, error) {
	uid, err := mifare.ParseUID(a.UID)
	if err != nil {
		return uplink.Reply{}, fmt.Errorf("start: %w", err)
	}
	a.UID = uid.String()
	return g.decide(session.CommandStart)(ctx, a)
}

// decide has the session machine decide, as about a tap.
func (g *gateway) decide(name session.CommandName) order {
	return func(ctx context.Context, a orderArgs) (uplink.Reply, error) {
		ctx, cancel := context.WithTimeout(ctx, orderTimeout)
		defer cancel()
		d, err := g.ctl.Command(ctx, name, a.Station, session.IDToken(a.UID))
		if err != nil {
			return uplink.Reply{}, err
		}
		r := uplink.Reply{Status: string(d.Status), Reason: string(d.Reason)}
		switch {
		case d.Reason == session.NoStation:
			r.Error = fmt.Sprintf("no station %.64q at this gateway", a.Station)
		case d.Reason != "":
			r.Error = string(name) + " refused"
		}
		if d.TransactionID != "" {
			r.Result = map[string]string{"station": d.Station, "transactionId": d.TransactionID}
		}
		return r, nil
	}
}

func (g *gateway) showItself(context.Context, orderArgs) (uplink.Reply, error) {
	g.blink()
	return uplink.Reply{}, nil
}

func (g *gateway) enrolForBackend(ctx context.Context, _ orderArgs) (uplink.Reply, error) {
	e, err := g.enrol(ctx)
	if err != nil {
		return uplink.Reply{}, err
	}
	return uplink.Reply{Result: e}, nil
}

// restartTimeout is how long a chip may take to come up again.
const restartTimeout = 10 * time.Second

// restartReader switches the field off and has the chip brought up from its
// reset, self-test included. A card that is held there does not count again.
func (g *gateway) restartReader(ctx context.Context, a orderArgs) (uplink.Reply, error) {
	i := slices.IndexFunc(g.readers, func(r *badgeReader) bool { return r.cfg.Name == a.Reader })
	if i < 0 {
		return uplink.Reply{}, fmt.Errorf("no reader %.64q at this gateway", a.Reader)
	}
	r := g.readers[i]
	r.mu.Lock()
	dev := r.dev
	r.mu.Unlock()
	if dev == nil {
		return uplink.Reply{}, errors.New("the reader's wires are not open: it is tried every second anyway")
	}
	_ = dev.Halt() // on a bus that is broken too, all begins anew
	before := dev.Health().Polls
	for end := time.Now().Add(restartTimeout); time.Now().Before(end) && ctx.Err() == nil; wait(ctx, 50*time.Millisecond) {
		if s := r.status(); s.State == "ready" && dev.Health().Polls > before {
			return uplink.Reply{Result: s}, nil
		}
	}
	return uplink.Reply{}, fmt.Errorf("reader %s did not come back: %s", a.Reader, r.status().Error)
}
