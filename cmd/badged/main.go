// Badged is the daemon on the board: it reads badges, decides from its own
// list, switches and meters machines, and reports sessions over MQTT.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // opening hours need no zone files on the board

	"github.com/alecthomas/kong"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
)

// version is set by the linker; a plain go build has none.
var version = "devel"

type cli struct {
	Config    string           `required:"" placeholder:"F" help:"Config file, such as /etc/badged/badged.toml."`
	Check     bool             `help:"Check the config and say what is wrong, then exit."`
	Examine   bool             `help:"Look at config, files, board and network without starting, and print JSON: badgectl doctor asks for it."`
	RelaysOff string           `enum:",all,orphaned" default:"" placeholder:"WHICH" help:"Open the relays and exit, while no daemon runs: all, or orphaned: only if no daemon can come back, as the config cannot be used."`
	Socket    string           `placeholder:"PATH" help:"Control socket (default: $$BADGED_SOCKET or /run/badged/control.sock)."`
	Verbose   bool             `short:"v" help:"Log more."`
	Version   kong.VersionFlag `help:"Print the version."`
}

const description = `The badge gateway's daemon.

Example:
  badged --config /etc/badged/badged.toml --check
  badged --config /etc/badged/badged.toml`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	var c cli
	kong.Parse(&c, kong.Name("badged"), kong.Description(description), kong.UsageOnError(), kong.Exit(gateway.ExitUsage),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"version": version})
	if err := run(ctx, c, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "badged:", err)
		os.Exit(gateway.ExitCode(err))
	}
}

// run is main without the process.
func run(ctx context.Context, c cli, out, errOut io.Writer) error {
	if c.RelaysOff != "" {
		return relaysOff(c.Config, c.RelaysOff == "orphaned")
	}
	if c.Examine {
		return examine(ctx, c.Config, out)
	}
	if c.Check {
		return check(c.Config, out)
	}
	cfg, err := gateway.Load(c.Config)
	if gateway.ExitCode(err) == gateway.ExitConfig {
		err = errors.Join(err, switchOff())
	}
	if err != nil {
		return err
	}
	cfg.Version = version
	cfg.Socket = control.DaemonSocket(c.Socket)
	log := gateway.NewLogger(errOut, c.Verbose)
	board, err := openBoard(cfg, log)
	if err != nil {
		return err
	}
	if err := noteRelays(cfg); err != nil {
		log.Warn("relays could stay on if the config went", "err", err)
	}
	return gateway.Run(ctx, cfg, board, log)
}

// check says what the config promises and what it needs beside itself.
func check(path string, out io.Writer) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	notes, err := gateway.Check(cfg)
	for _, n := range notes {
		fmt.Fprintln(out, "note:", n)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: ok: gateway %s, %d readers, %d stations, list %s\n",
		cfg.File, cfg.ID, len(cfg.Readers), len(cfg.Stations), cfg.List.Name)
	return nil
}
