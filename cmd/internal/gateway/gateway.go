// Package gateway is the whole gateway: its config, and the wiring that badged
// on a board and badgesim at a desk share.
//
// Run opens the databases, drives the relays as the journal says, and then runs
// readers, meters, uplink, panel and local door side by side. A reader, meter or
// broker that does not work is a state to show, never a reason to stop.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"badged/cache"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/provision"
	"badged/session"
	"badged/station"
	"badged/uplink"
)

// gateway is a running one.
type gateway struct {
	cfg     config.Config
	hw      Hardware
	log     *slog.Logger
	clock   *clock
	started time.Time

	list    *cache.List
	ledger  *cache.Ledger
	ctl     *session.Controller
	up      *uplink.Client
	panel   *station.Panel
	hub     *control.Hub
	readers []*badgeReader
	visits  visits
	desk    enrolment
	faults  faults
	keeper  *timekeeper // housekeep's own
	ledgers string      // the last word on a ledger that was replaced; housekeep's own
	buses   buses

	provision provision.State // what became of it before this start

	stations string        // as they were when the status was last told; the controller's own
	driven   chan struct{} // closed when the relays are as the journal says
	headAt   atomic.Int64  // uptime of the last head that was accepted, as far as this daemon ran since
	turned   atomic.Int64  // uptime of the controller's last turn
	tapped   atomic.Int64  // uptime of the last card at any reader, 0 before the first
}

// Run runs the gateway of c on hw until ctx ends, and then returns nil. An
// error means that it cannot work at all: another daemon has its databases, its
// state folder cannot be written, a key file cannot be read.
func Run(ctx context.Context, c config.Config, hw Hardware, log *slog.Logger) error {
	return runWith(ctx, c, hw, log, clockOf(hw))
}

// runWith is Run by another clock.
func runWith(ctx context.Context, c config.Config, hw Hardware, log *slog.Logger, clk *clock) error {
	return newGateway(c, hw, log, clk).work(ctx)
}

func newGateway(c config.Config, hw Hardware, log *slog.Logger, clk *clock) *gateway {
	return &gateway{
		cfg: c, hw: hw, log: log, hub: &control.Hub{}, clock: clk,
		started: time.Now(), driven: make(chan struct{}),
	}
}

// work is all that a gateway does, from its databases to their closing.
func (g *gateway) work(ctx context.Context) error {
	if err := g.open(); err != nil {
		return err
	}
	defer g.close()
	if err := g.wire(); err != nil {
		return err
	}
	return g.run(ctx)
}

// open opens what must not be missing: the databases.
func (g *gateway) open() error {
	state := g.cfg.State
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("state folder: %w\nhint: make %s and give it to the user that runs this, or name another in gateway.state", err, state)
	}
	ledger, err := cache.OpenLedger(filepath.Join(state, "ledger.db"), cache.LedgerOpts{
		Gateway: g.cfg.ID, Stamp: g.clock.Stamp, BrokerAck: g.cfg.Broker.AckByBroker,
	})
	if err != nil {
		return err
	}
	g.ledger = ledger
	if err := g.raiseHead(); err != nil {
		return errors.Join(err, ledger.Close())
	}
	if floor, err := ledger.Floor(context.Background()); err == nil {
		if floor.IsZero() { // a fresh card, whose clock may never have been set
			floor = provision.MadeAt(g.cfg.File)
		}
		g.clock.setFloor(floor)
	}
	if g.list, err = cache.OpenList(filepath.Join(state, "list.db")); err != nil {
		return errors.Join(err, ledger.Close())
	}
	g.loadAge()
	if err := g.visits.load(filepath.Join(state, "cards")); err != nil {
		g.log.Warn("kinds of cards not read", "err", err)
	}
	g.keeper = g.newTimekeeper()
	if lost := g.list.Recovered(); lost != "" {
		g.log.Error("database replaced", "which", "list", "why", lost)
		g.faults.set("list replaced", lost)
	}
	g.noteLedger()
	return nil
}

// raiseHead keeps what provisioning knew of the list, so that a fresh card takes no
// list that is older.
func (g *gateway) raiseHead() error {
	h := g.cfg.List.Head
	if h == (config.Head{}) {
		return nil
	}
	err := g.ledger.RaiseHead(context.Background(), session.ListVersion{List: g.cfg.List.Name, Epoch: h.Epoch, Version: h.Version})
	if err != nil {
		return fmt.Errorf("list.head: %w", err)
	}
	return nil
}

func (g *gateway) close() {
	g.buses.close()
	g.saveAge(context.Background())
	if err := errors.Join(g.list.Close(), g.ledger.Close()); err != nil {
		g.log.Error("databases not closed well", "err", err)
	}
}

// wire connects the parts; nothing runs yet and no line is taken but the panel's.
func (g *gateway) wire() error {
	uidForm, err := g.uidForm()
	if err != nil {
		return err
	}
	keys, roots, err := g.cfg.ListKeys()
	if err != nil {
		return err
	}
	g.panel = openPanel(g.hw, g.cfg, g.log)
	g.provisioned()
	power := map[string]session.Power{}
	sc := session.Config{
		Billing: g.cfg.Billing, Language: g.cfg.Language, Zone: g.cfg.Timezone,
		MaxSessionsPerAccount: g.cfg.MaxSessionsPerAccount, UIDForm: uidForm, NewID: newTransactionID,
	}
	for _, s := range g.cfg.Stations {
		sc.Stations = append(sc.Stations, s.StationConfig)
		power[s.ID] = &relay{wire: Wire{s.Relay, s.RelayActiveLow, s.ID}, hw: g.hw}
	}
	commands, err := g.commands()
	if err != nil {
		return err
	}
	g.up, err = uplink.New(g.uplinkOpts(keys, roots, commands))
	if err != nil {
		return err
	}
	g.ctl = session.NewController(sc, session.Deps{
		List: g.list, Journal: g.ledger, Power: power, Panel: g.panel,
		Clock: g.clock.Stamp, Offline: g.up.Offline, Log: g.log,
		Observe: g.decided, Changed: g.stationsChanged,
		Ready: func() { close(g.driven) }, Alive: func() { g.turned.Store(int64(uptime())) },
	})
	for _, r := range g.cfg.Readers {
		g.readers = append(g.readers, &badgeReader{cfg: r, gateway: g})
	}
	return nil
}

// run starts every part. The controller comes first: it drives the relays as
// the journal says before anything slow happens.
func (g *gateway) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return g.ctl.Run(ctx) })
	tasks.Go(func() error { return g.panel.Run(ctx) })
	select {
	case <-g.driven:
	case <-ctx.Done():
		return tasks.Wait()
	}
	for _, r := range g.readers {
		tasks.Go(func() error { return r.run(ctx) })
	}
	for _, s := range g.cfg.Stations {
		g.runStation(ctx, tasks, s)
	}
	tasks.Go(func() error { return g.up.Run(ctx) })
	tasks.Go(func() error { return g.tryConfig(ctx) })
	tasks.Go(func() error { return control.Serve(ctx, g.cfg.Socket, control.Handler(door{g}, g.hub)) })
	tasks.Go(func() error { return g.housekeep(ctx) })
	tasks.Go(func() error { return g.notify(ctx) })
	g.log.Info("gateway started", "id", g.cfg.ID, "version", g.cfg.Version, "stations", len(g.cfg.Stations))
	err := tasks.Wait()
	g.log.Info("gateway stopped")
	return err
}

func (g *gateway) runStation(ctx context.Context, tasks *errgroup.Group, s config.Station) {
	if s.Meter.Type != "none" {
		tasks.Go(func() error { return g.runMeter(ctx, s) })
	}
	if s.Plug != "" {
		tasks.Go(func() error { return g.runInput(ctx, s.Plug, func(in bool) { g.ctl.Plug(s.ID, in) }) })
	}
	if s.Select != "" {
		tasks.Go(func() error {
			return g.runInput(ctx, s.Select, func(pressed bool) {
				if pressed {
					g.ctl.Press(s.Reader, s.ID)
				}
			})
		})
	}
}
