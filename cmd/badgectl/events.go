package main

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"badged/cmd/internal/backend"
)

type eventsCmd struct {
	brokerFlags
	Store string `required:"" placeholder:"DIR" help:"Folder that every record is committed to."`
	Ack   bool   `help:"Acknowledge what is committed; without it only a copy is kept."`
}

// Run receives until it is interrupted, a record a line.
func (c *eventsCmd) Run(e *env) error {
	enc := json.NewEncoder(e.out)
	r, err := backend.OpenReceiver(c.Store, backend.ReceiverOpts{
		Ack: c.Ack, Log: slog.New(slog.NewTextHandler(e.err, nil)),
		Follow: func(rec backend.Record) { c.show(e, enc, rec) },
	})
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Run(e.ctx, c.broker())
}

func (c *eventsCmd) show(e *env, enc *json.Encoder, r backend.Record) {
	if e.json {
		enc.Encode(r)
		return
	}
	fmt.Fprintf(e.out, "%s %s %d %s\n", r.Gateway, r.Ledger, r.Seq, r.Record)
}
