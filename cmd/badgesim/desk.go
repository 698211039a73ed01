package main

import (
	"context"
	_ "embed" // the desk's config and list
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/uplink"
)

//go:embed desk.toml
var deskConfig string

//go:embed desk.csv
var deskList string

// desk is a folder with all that a gateway and its world keep, and the config
// that both read.
type desk struct {
	dir    string
	config string // file
	cfg    config.Config
	own    bool    // the config is the desk's own: so are keys and list
	broker *broker // nil where somebody else's is used
	socket string  // of the gateway
	lock   *os.File

	noBackend bool // somebody else's receives the records
}

// deskOpts says what is not to be the desk's usual.
type deskOpts struct {
	config   string // a config file instead of the desk's own
	broker   string // the URL of a broker instead of the desk's own
	template string // of the desk's own config
	socket   string // the gateway's, instead of control.sock in the folder; the world's is beside it
}

// openDesk takes and prepares the folder; Close gives it back. The desk's own
// config comes with keys and a list.
func openDesk(dir string, o deskOpts) (*desk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the desk's folder: %w\nhint: name another with --state", err)
	}
	d := &desk{dir: dir, config: o.config, own: o.config == "", socket: o.socket}
	if d.socket == "" {
		d.socket = filepath.Join(dir, control.GatewaySocket)
	}
	if d.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if err := d.prepare(o); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close gives the folder to the next desk.
func (d *desk) Close() { d.lock.Close() }

// lockFolder keeps a second world from pulling the wires from under the first.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "world.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the desk's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a world runs in %s already\nhint: stop it, or give this one a folder of its own with --state", dir)
	}
	return f, nil
}

func (d *desk) prepare(o deskOpts) (err error) {
	if d.own {
		if err := d.furnish(o); err != nil {
			return err
		}
	}
	if d.cfg, err = config.Load(d.config); err != nil {
		return err
	}
	if o.broker == "" && ownBroker(d.cfg.Broker.URL) {
		d.broker = &broker{addr: d.cfg.Broker.URL.Host}
	}
	if o.broker != "" {
		if d.cfg.Broker.URL, err = url.Parse(o.broker); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	return nil
}

// furnish writes the desk's own config, and keys where there are none yet.
func (d *desk) furnish(o deskOpts) error {
	if o.broker == "" {
		port, err := freePort()
		if err != nil {
			return err
		}
		o.broker = fmt.Sprintf("tcp://127.0.0.1:%d", port)
	}
	if o.template == "" {
		o.template = deskConfig
	}
	if err := d.makeKeys(); err != nil {
		return err
	}
	d.config = filepath.Join(d.dir, "badged.toml")
	f, err := os.Create(d.config)
	if err != nil {
		return fmt.Errorf("write the desk's config: %w", err)
	}
	err = template.Must(template.New("").Parse(o.template)).Execute(f, map[string]string{"Broker": o.broker})
	return errors.Join(err, f.Close())
}

// makeKeys makes the keys that sign lists and commands, where there are none.
func (d *desk) makeKeys() error {
	for path, make := range map[string]func(dir string) error{d.signingKey(): backend.Keygen, d.commandKey(): backend.CommandKeygen} {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := make(filepath.Dir(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *desk) signingKey() string { return filepath.Join(d.dir, "keys", backend.KeyFile) }
func (d *desk) commandKey() string { return filepath.Join(d.dir, "keys", backend.CommandKeyFile) }
func (d *desk) lists() string      { return filepath.Join(d.dir, "lists") }

// runWorld is the world, the broker and the small backend until ctx ends or one
// of them fails. with, if not nil, runs beside them once a gateway can start.
func (d *desk) runWorld(ctx context.Context, f worldFlags, spiConnect string, log *slog.Logger, with func(context.Context, *world) error) error {
	if d.broker != nil {
		if err := d.broker.Start(); err != nil {
			return err
		}
		defer d.broker.Stop()
	}
	w := newWorld(d, f.Lines == "drop", log)
	// The world ends after the gateway: wires that vanish first look like faults.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worldCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, worldCtx := errgroup.WithContext(worldCtx)
	defer context.AfterFunc(worldCtx, cancel)()
	if err := w.start(worldCtx, g, f.SPIListen, spiConnect); err != nil {
		end()
		return errors.Join(err, g.Wait())
	}
	if !d.noBackend {
		g.Go(func() error { return d.runBackend(worldCtx, log) })
	}
	g.Go(func() error {
		defer end()
		if with == nil {
			<-ctx.Done()
			return nil
		}
		return with(ctx, w)
	})
	return g.Wait()
}

// runBackend is the small backend: it commits and acknowledges records, and
// keeps the desk's list on the broker.
func (d *desk) runBackend(ctx context.Context, log *slog.Logger) error {
	b := uplink.Broker{URL: d.cfg.Broker.URL.String(), CA: d.cfg.Broker.CA}
	r, err := backend.OpenReceiver(filepath.Join(d.dir, "backend"), backend.ReceiverOpts{Ack: true, Log: log})
	if err != nil {
		return err
	}
	defer r.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx, b) })
	if d.own {
		g.Go(func() error { return d.keepList(ctx, b, log) })
	}
	return g.Wait()
}

// keepListEvery is how soon a broker that forgot the list has it again.
const keepListEvery = 5 * time.Second

// ownSettle is how long the desk's own broker may take to send what it has.
const ownSettle = 100 * time.Millisecond

// keepList publishes the desk's list, and again when a broker forgot it. Between
// two looks the store is free for badgectl list push.
func (d *desk) keepList(ctx context.Context, b uplink.Broker, log *slog.Logger) error {
	tick := time.NewTicker(keepListEvery)
	defer tick.Stop()
	there := false
	for {
		if !there {
			if err := d.publish(ctx, b); err != nil && ctx.Err() == nil {
				log.Info("list not published", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		there = d.listThere(ctx, b)
	}
}

// listThere tells whether the broker has a list by the desk's key.
func (d *desk) listThere(ctx context.Context, b uplink.Broker) bool {
	keys, err := backend.ReadKeys(d.cfg.List.Keys)
	if err == nil {
		_, err = backend.Show(ctx, b, d.cfg.List.Name, keys)
	}
	return err == nil
}

func (d *desk) publish(ctx context.Context, b uplink.Broker) error {
	key, err := backend.ReadKey(d.signingKey())
	if err != nil {
		return err
	}
	p, err := backend.OpenPublisher(d.lists(), d.cfg.List.Name, b, key)
	if err != nil {
		return err
	}
	defer p.Close()
	if d.broker != nil {
		p.Settle = ownSettle
	}
	entries, err := p.Entries()
	if err == nil && len(entries) == 0 {
		entries, err = backend.ReadCSV(strings.NewReader(deskList))
	}
	if err != nil {
		return err
	}
	_, err = p.Push(ctx, entries, backend.PushOpts{})
	return err
}

func (d *desk) story(out io.Writer) {
	fmt.Fprintf(out, `badged at a desk: a reader "hall", a washer and a charger, nothing of it real.

  state    %s
  broker   %s
  gateway  a process of its own; relay, meter and plug live in this one and outlive it

In a second terminal:
%s
  ./bin/badgectl tap 04A1B2C3            Anna starts the washer
  ./bin/badgectl load washer 2000        it draws 2 kW ...
  ./bin/badgectl load washer 3           ... and is done: the session ends after %v
  ./bin/badgectl plug charger on         a car, then tap 044494C0228B80 (Claire)
  ./bin/badgectl tap 0426DF47D83C80      a DESFire card: wrong kind of badge
  ./bin/badgectl tap 485FD82E            a lost badge, blocked
  ./bin/badgectl tap 04A1B2C3 30949AD1   two badges at once
  ./bin/badgectl status                  how the gateway is; watch shows it live
  mosquitto_sub -p %s -t 'badged/v1/gateways/#' -v   what a backend sees

`, d.dir, d.cfg.Broker.URL, d.finding(), d.cfg.Stations[0].IdleFor, d.cfg.Broker.URL.Port())
	if d.own {
		fmt.Fprintf(out, `  ./bin/badgectl list push FILE.csv --list %s --store %s --sign %s --broker %s
  ./bin/badgectl command blink --gateway %s --sign %s --broker %s

`, d.cfg.List.Name, d.lists(), d.signingKey(), d.cfg.Broker.URL, d.cfg.ID, d.commandKey(), d.cfg.Broker.URL)
	}
}

// finding is what has badgectl find a gateway whose socket is not where it looks.
func (d *desk) finding() string {
	if d.socket == control.SocketPath("") {
		return ""
	}
	return fmt.Sprintf("\n  export BADGED_SOCKET=%s\n", d.socket)
}
