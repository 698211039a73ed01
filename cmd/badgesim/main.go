// Badgesim is the gateway at a desk: the world around it (reader with a field,
// relay, meter, plug, broker, a small backend) and the gateway itself as two
// processes, so that killing the gateway proves something.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
)

// version is set by the linker; a plain go build has none.
var version = "devel"

type cli struct {
	Version kong.VersionFlag `help:"Print the version."`

	Desk    deskCmd    `cmd:"" default:"withargs" help:"World and gateway, two processes (the default)."`
	World   worldCmd   `cmd:"" help:"Only the world of a desk."`
	Gateway gatewayCmd `cmd:"" help:"Only the gateway, in a world that runs."`
}

// worldFlags are those of every command that has a world in it.
type worldFlags struct {
	Lines     string `enum:"persist,drop" default:"persist" help:"What a line does when the gateway dies: ${enum}."`
	SPIListen string `name:"spi-listen" placeholder:"PATH" help:"Offer the first reader's chip on a unix socket, to any driver."`
	Verbose   bool   `short:"v" help:"Log what happens."`
}

type worldCmd struct {
	worldFlags
	Dir        string `arg:"" help:"Folder of the desk."`
	Config     string `placeholder:"F" help:"Gateway's config (default: the desk's own)."`
	Broker     string `placeholder:"URL" help:"Use this broker and start none."`
	SPIConnect string `name:"spi-connect" placeholder:"PATH" help:"Offer the first reader's chip to a driver that listens there."`
	NoBackend  bool   `help:"Run no backend: another one receives the records."`
}

type gatewayCmd struct {
	Dir        string `arg:"" help:"Folder of the desk whose world runs."`
	Config     string `required:"" placeholder:"F" help:"Gateway's config."`
	Broker     string `placeholder:"URL" help:"Use this broker instead of the config's."`
	Socket     string `placeholder:"PATH" help:"Control socket (default: control.sock in DIR)."`
	SPIConnect string `name:"spi-connect" placeholder:"PATH" help:"Drive a chip on this socket instead of the world's."`
	SPIListen  string `name:"spi-listen" placeholder:"PATH" help:"Drive a chip that connects to this socket."`
	Verbose    bool   `short:"v" help:"Log more."`
}

const description = `The whole gateway at a desk, without hardware.

Example:
  badgesim                      then, in another terminal: badgectl tap 04A1B2C3
  badgesim --demo               plays a story and checks it`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	var c cli
	k := kong.Parse(&c, kong.Name("badgesim"), kong.Description(description),
		kong.UsageOnError(), kong.Exit(gateway.ExitUsage), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"version": version, "desk": control.DeskDir()})
	if err := k.Run(&env{ctx, os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "badgesim:", err)
		os.Exit(gateway.ExitCode(err))
	}
}

// env is what a command gets to work with.
type env struct {
	ctx      context.Context
	out, err io.Writer
}

// worldLog is what the world does, for those who want to see it.
func worldLog(e *env, verbose bool) *slog.Logger {
	if !verbose {
		return slog.New(slog.DiscardHandler)
	}
	return gateway.NewLogger(e.err, true)
}

// Run is the world alone: it goes on when the gateway dies.
func (c *worldCmd) Run(e *env) error {
	d, err := openDesk(c.Dir, deskOpts{config: c.Config, broker: c.Broker})
	if err != nil {
		return err
	}
	defer d.Close()
	d.noBackend = c.NoBackend
	fmt.Fprintf(e.out, "world of %s; start its gateway with: badgesim gateway %s --config %s\n", d.dir, d.dir, d.config)
	return d.runWorld(e.ctx, c.worldFlags, c.SPIConnect, worldLog(e, c.Verbose), nil)
}

// Run is the gateway alone, with the world's hardware.
func (c *gatewayCmd) Run(e *env) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	cfg, err := gateway.Load(c.Config)
	if err != nil {
		return err
	}
	if c.Broker != "" {
		if cfg.Broker.URL, err = url.Parse(c.Broker); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	cfg.Version = version
	cfg.Socket = c.Socket
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(dir, control.GatewaySocket)
	}
	hw := &deskHardware{dir: dir, first: cfg.Readers[0].Name, spiConnect: c.SPIConnect}
	if c.SPIListen != "" {
		l, err := listenAt(c.SPIListen)
		if err != nil {
			return err
		}
		defer l.Close()
		hw.spiListen = l.(*net.UnixListener)
	}
	return gateway.Run(e.ctx, cfg, hw, gateway.NewLogger(e.err, c.Verbose))
}
