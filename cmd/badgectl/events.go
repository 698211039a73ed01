package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	TZ     string `name:"tz" default:"Local" placeholder:"ZONE" help:"Time zone of the columns startLocal and endLocal, such as Europe/Zurich."`
}

// Validate refuses what makes no sense together.
func (c *eventsCmd) Validate() error {
	stored := c.CSV && !c.Follow
	switch {
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
	if c.CSV && !c.Follow {
		return backend.WriteCSV(e.out, c.Store, local)
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
		if show, err = backend.FollowCSV(e.out, c.Store, local); err != nil {
			return err
		}
	}
	return r.Run(e.ctx, c.broker())
}

func (c *eventsCmd) show(e *env, r backend.Record) error {
	if e.json {
		return json.NewEncoder(e.out).Encode(r)
	}
	_, err := fmt.Fprintf(e.out, "%s %s %d %s\n", r.Gateway, r.Ledger, r.Seq, r.Record)
	return err
}
