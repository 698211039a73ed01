// Badgectl is the technician's and the integrator's command line: it looks at
// the gateway beside it, names cards, publishes lists and receives records.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // configs name zones, and offices may have no zone files

	"github.com/alecthomas/kong"

	"badged/cmd/internal/control"
)

// version is set by the linker; a plain go build has none.
var version = "devel"

// cli is the command line: one field a verb.
type cli struct {
	Socket  string           `placeholder:"PATH" help:"The gateway's socket (default: $$BADGED_SOCKET, /run/badged/control.sock, or the desk's)."`
	JSON    bool             `name:"json" help:"Print JSON."`
	Version kong.VersionFlag `help:"Print the version."`

	Status   statusCmd   `cmd:"" help:"Show what the gateway is doing."`
	Watch    watchCmd    `cmd:"" help:"Show every card and decision as it happens."`
	Sessions sessionsCmd `cmd:"" help:"Show the stations and their sessions."`
	Station  stationCmd  `cmd:"" help:"Take a station out of service, or back."`
	Enrol    enrolCmd    `cmd:"" help:"Read the next badge to register it, instead of authorising it."`
	Blink    blinkCmd    `cmd:"" help:"Make the gateway show itself."`
	Doctor   doctorCmd   `cmd:"" help:"Check the gateway, one line a check, and say what to do."`

	Identify identifyCmd `cmd:"" help:"Name a card from what a reader saw of it."`
	UID      uidCmd      `cmd:"" name:"uid" help:"Show every way to read a written UID."`

	List    listCmd    `cmd:"" help:"Publish and check the list of badges."`
	Events  eventsCmd  `cmd:"" help:"Receive, check and acknowledge billing records."`
	Command commandCmd `cmd:"" help:"Send a gateway a signed command, and print its reply."`

	Provision provisionCmd `cmd:"" help:"Make the file that turns a board into a gateway, and install it there."`

	Tap   tapCmd   `cmd:"" help:"At the desk: hold a virtual card to a reader."`
	Load  loadCmd  `cmd:"" help:"At the desk: let a machine draw power."`
	Plug  plugCmd  `cmd:"" help:"At the desk: put a cable into a car, or take it out."`
	Fault faultCmd `cmd:"" help:"At the desk: break a reader's chip, or mend it."`
}

// env is what a verb gets to work with.
type env struct {
	ctx      context.Context
	socket   string
	json     bool
	in       io.Reader
	out, err io.Writer
}

func (e *env) gateway() *control.Client { return control.NewClient(e.socket) }
func (e *env) world() *control.Client   { return control.NewClient(control.WorldPath(e.socket)) }

// print writes v as JSON where --json asks for it, else as text says.
func (e *env) print(v any, text func(io.Writer)) error {
	if !e.json {
		text(e.out)
		return nil
	}
	return json.NewEncoder(e.out).Encode(v)
}

const description = `The technician's and the integrator's command line of badged.

Example:
  badgectl status
  badgectl identify --atqa 0400 --sak 08 --uid 04A1B2C3
  badgectl provision make --template site/badged.toml --set gateway.id=gw-0042 --out out
  badgectl list push badges.csv --list via-roma-12 --sign list-key.jwk --broker tls://broker.example.org:8883`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exit codes: wrong usage is 2, as with other GNU programs.
const (
	exitFailed = 1
	exitUsage  = 2
)

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) (code int) {
	var c cli
	type exited int
	defer func() {
		if e, ok := recover().(exited); ok { // --help and --version end here
			code = int(e)
		}
	}()
	p, err := kong.New(&c, kong.Name("badgectl"), kong.Description(description), kong.Writers(out, errOut),
		kong.Exit(func(n int) { panic(exited(n)) }), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": version})
	if err != nil {
		panic(err) // the struct above is wrong, not the user
	}
	k, err := p.Parse(args)
	if err != nil {
		usage(err, errOut)
		return exitUsage
	}
	e := &env{ctx: ctx, socket: control.SocketPath(c.Socket), json: c.JSON, in: in, out: out, err: errOut}
	if err := k.Run(e); err != nil {
		complain(errOut, err)
		return exitFailed
	}
	return 0
}

// usage prints what was wrong and how the verb is used, to errOut.
func usage(err error, errOut io.Writer) {
	fmt.Fprintln(errOut, "error:", err)
	var pe *kong.ParseError
	if errors.As(err, &pe) {
		fmt.Fprintf(errOut, "hint: badgectl %s--help\n", command(pe.Context))
	}
}

func command(k *kong.Context) string {
	var b strings.Builder
	for _, p := range k.Path {
		if p.Command != nil {
			b.WriteString(p.Command.Name + " ")
		}
	}
	return b.String()
}

// complain prints an error, and the remedy in it on a line of its own.
func complain(w io.Writer, err error) {
	text, hint, ok := strings.Cut(err.Error(), "\nhint: ")
	fmt.Fprintln(w, "error:", text)
	if ok {
		fmt.Fprintln(w, "hint:", hint)
	}
}
