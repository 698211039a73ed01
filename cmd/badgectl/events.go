package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"badged/cmd/internal/backend"
)

type eventsCmd struct {
	optionalBroker
	Store  string `placeholder:"DIR" help:"Folder that every record is committed to; without it records are only shown."`
	Ack    bool   `help:"Acknowledge what is committed; without it only a copy is kept."`
	CSV    bool   `name:"csv" help:"Print sessions as CSV: those in the store, then end."`
	Follow bool   `help:"With --csv: go on, a row for each session that ends."`
	Excel  bool   `help:"With --csv: semicolons and a mark for UTF-8, as Excel wants them in German, French and Italian."`
	Check  bool   `help:"Check the chain of every ledger in the store, a line each, then end."`
	TZ     string `name:"tz" default:"Local" placeholder:"ZONE" help:"Time zone of the columns startLocal and endLocal, such as Europe/Zurich."`
}

// Validate refuses what makes no sense together.
func (c *eventsCmd) Validate() error {
	stored := c.CSV && !c.Follow
	switch {
	case c.Check && (c.Store == "" || c.CSV || c.Follow || c.Ack || c.Broker != ""):
		return errors.New("--check reads what is stored and ends: name the folder with --store, and nothing else")
	case c.Check:
		return nil
	case c.Excel && !c.CSV:
		return errors.New("--excel is a way to write --csv")
	case stored && c.Store == "":
		return errors.New("--csv prints what is stored: name the folder with --store, or add --follow")
	case stored && (c.Broker != "" || c.Ack):
		return errors.New("--csv prints what is stored and ends: leave out --broker and --ack, or add --follow")
	case !stored && c.Broker == "":
		return errors.New("missing flags: --broker=URL")
	case c.Ack && c.Store == "":
		return errors.New("--ack promises to keep the records: name the folder with --store")
	}
	return nil
}

// Run receives until it is interrupted, a record or an ended session a line.
func (c *eventsCmd) Run(e *env) error {
	local, err := time.LoadLocation(c.TZ)
	if err != nil {
		return fmt.Errorf("--tz: %w", err)
	}
	sessions := backend.CSV{Local: local, Excel: c.Excel}
	switch {
	case c.Check:
		return c.check(e)
	case c.CSV && !c.Follow:
		return sessions.Write(e.out, c.Store)
	}
	show := func(r backend.Record) error { return c.show(e, r) }
	r, err := backend.OpenReceiver(c.Store, backend.ReceiverOpts{
		Ack: c.Ack, Log: slog.New(slog.NewTextHandler(e.err, nil)),
		Follow: func(rec backend.Record) {
			if err := show(rec); err != nil {
				complain(e.err, err) // it is stored all the same
			}
		},
	})
	if err != nil {
		return err
	}
	defer r.Close()
	if c.CSV {
		if show, err = sessions.Follow(e.out, c.Store, func(err error) { complain(e.err, err) }); err != nil {
			return err
		}
	}
	return r.Run(e.ctx, c.broker())
}

// check prints a line for each ledger, and fails if one is odd.
func (c *eventsCmd) check(e *env) error {
	ledgers, odd := 0, 0
	err := backend.Check(c.Store, func(l backend.Checked) error {
		ledgers++
		if l.Odd != "" {
			odd++
		}
		return e.print(l, func(w io.Writer) {
			what := fmt.Sprintf("%d records, whole, up to %s", l.UpTo, l.Hash)
			if l.Odd != "" {
				what = l.Odd
			}
			fmt.Fprintf(w, "%s %s: %s\n", l.Gateway, l.Ledger, what)
		})
	})
	switch {
	case err != nil:
		return fmt.Errorf("check: %w", err)
	case ledgers == 0:
		return fmt.Errorf("check: no ledger in %s", c.Store)
	case odd > 0:
		return fmt.Errorf("%d of %d ledgers are odd\nhint: a receiver that runs with --ack has the gateways send what is missing; contradictions need a person", odd, ledgers)
	}
	return nil
}

func (c *eventsCmd) show(e *env, r backend.Record) error {
	if e.json {
		return json.NewEncoder(e.out).Encode(r)
	}
	_, err := fmt.Fprintf(e.out, "%s %s %d %s\n", r.Gateway, r.Ledger, r.Seq, r.Record)
	return err
}
