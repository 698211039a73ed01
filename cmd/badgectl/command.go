package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"badged/cmd/internal/backend"
	"badged/uplink"
)

type commandCmd struct {
	Start   startOrder   `cmd:"" help:"Start a station for a badge."`
	Stop    stationOrder `cmd:"" help:"End a station's session."`
	Enable  stationOrder `cmd:"" help:"Put a station back into service."`
	Disable stationOrder `cmd:"" help:"Take a station out of service; a running session goes on."`
	Resend  resendOrder  `cmd:"" help:"Have records sent again."`
	Enrol   plainOrder   `cmd:"" help:"Read the next badge that is tapped within a minute."`
	Blink   plainOrder   `cmd:"" help:"Make the gateway show itself."`
	Reader  readerOrder  `cmd:"" name:"restart-reader" help:"Bring a reader's chip up anew."`
	Keygen  commandKey   `cmd:"" help:"Make a key that signs commands."`
}

// orderFlags are those of every command.
type orderFlags struct {
	brokerFlags
	Gateway string `required:"" placeholder:"ID" help:"The gateway's id."`
	Sign    string `required:"" placeholder:"KEY.jwk" help:"Key that signs the command."`
}

// send sends the order and prints the reply; one that says no is a failure.
func (f orderFlags) send(e *env, o backend.Order) error {
	key, err := backend.ReadKey(f.Sign)
	if err != nil {
		return err
	}
	o.Gateway = f.Gateway
	r, err := o.Send(e.ctx, f.broker(), key)
	if err != nil {
		return err
	}
	if err := e.print(r, func(w io.Writer) { printReply(w, r) }); err != nil {
		return err
	}
	if !r.OK {
		return refusedHint(r)
	}
	return nil
}

func printReply(w io.Writer, r uplink.Reply) {
	if !r.OK {
		return // the error says it
	}
	fmt.Fprintln(w, join("done", r.Status))
	if r.Result != nil {
		b, _ := json.MarshalIndent(r.Result, "", "  ") // it came as JSON
		fmt.Fprintln(w, string(b))
	}
}

// refusedHint is the gateway's no, with the remedy where there is one.
func refusedHint(r uplink.Reply) error {
	text := "the gateway refused: " + join(r.Error, r.Reason)
	hint := map[string]string{
		"NoCommandKeys":   "put command-keys.jwks beside the gateway's config and name it in commands.keys",
		"WrongSignature":  "is the key's public half among the gateway's commands.keys?",
		"OtherConnection": "the gateway has just connected anew: send the command again",
		"Expired":         "is this computer's clock right?",
	}[r.Reason]
	if hint != "" {
		text += "\nhint: " + hint
	}
	return errors.New(text)
}

type plainOrder struct{ orderFlags }

// Run sends enrol or blink.
func (c *plainOrder) Run(e *env, k *kong.Context) error {
	return c.send(e, backend.Order{Command: k.Selected().Name, Wait: 70 * time.Second})
}

type stationOrder struct {
	orderFlags
	Station string `required:"" placeholder:"S" help:"The station's id."`
}

// Run sends stop, enable or disable.
func (c *stationOrder) Run(e *env, k *kong.Context) error {
	return c.send(e, backend.Order{Command: k.Selected().Name, Args: map[string]string{"station": c.Station}})
}

type startOrder struct {
	orderFlags
	Station string `required:"" placeholder:"S" help:"The station's id."`
	UID     string `name:"uid" required:"" placeholder:"U" help:"The badge that it starts for."`
}

// Run sends start.
func (c *startOrder) Run(e *env, k *kong.Context) error {
	return c.send(e, backend.Order{Command: k.Selected().Name, Args: map[string]string{"station": c.Station, "uid": c.UID}})
}

type resendOrder struct {
	orderFlags
	From uint64 `placeholder:"N" help:"First record; without it the first that was not acknowledged."`
	To   uint64 `placeholder:"N" help:"Last record; without it the last there is."`
}

// Run sends resend.
func (c *resendOrder) Run(e *env, k *kong.Context) error {
	return c.send(e, backend.Order{Command: k.Selected().Name, Args: map[string]uint64{"from": c.From, "to": c.To}})
}

type readerOrder struct {
	orderFlags
	Reader string `required:"" placeholder:"R" help:"The reader's name."`
}

// Run sends restart-reader.
func (c *readerOrder) Run(e *env, k *kong.Context) error {
	return c.send(e, backend.Order{Command: k.Selected().Name, Args: map[string]string{"reader": c.Reader}})
}

type commandKey struct {
	Out string `default:"." placeholder:"DIR" help:"Folder for command-key.jwk and command-keys.jwks."`
}

// Run makes the two files.
func (c *commandKey) Run(e *env) error { return commandKeygen(e, c.Out) }

func commandKeygen(e *env, dir string) error {
	if err := backend.CommandKeygen(dir); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s signs commands: keep it secret\n%s goes to the gateways\n",
		filepath.Join(dir, backend.CommandKeyFile), filepath.Join(dir, backend.CommandKeysFile))
	return nil
}
