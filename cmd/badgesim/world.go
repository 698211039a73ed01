package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/reader/readertest"
)

// world is everything around a gateway: readers with a field for cards,
// machines behind relays, their meters and plugs. It outlives the gateway.
type world struct {
	dir    string
	door   string // where people's commands come in
	cfg    config.Config
	log    *slog.Logger
	lines  *lines
	chips  map[string]*readertest.Chip // by reader
	relays map[string]string           // line to station

	mu       sync.Mutex
	machines map[string]*machine
	moves    []control.RelayMove
	history  []control.Change
}

// machine is what hangs on a station: a washer, or a car on a wallbox.
type machine struct {
	station config.Station
	watts   float64
	plugged bool
	now     float64 // W, what it draws at this moment
	joules  float64 // drawn since the world began
	pulsed  float64 // of them, told by pulses
	closed  bool    // the contact of the pulses
	turned  time.Time
}

func newWorld(d *desk, drop bool, log *slog.Logger) *world {
	cfg := d.cfg
	w := &world{
		dir: d.dir, door: control.WorldPath(d.socket), cfg: cfg, log: log,
		chips: map[string]*readertest.Chip{}, relays: map[string]string{}, machines: map[string]*machine{},
	}
	w.lines = newLines(drop, w.moved)
	for _, r := range cfg.Readers {
		w.chips[r.Name] = readertest.New(readertest.Opts{RealTime: true})
	}
	for _, s := range cfg.Stations {
		w.relays[s.Relay] = s.ID
		w.machines[s.ID] = &machine{station: s}
	}
	return w
}

// moved is told by the lines of every output that moved; lights move too.
func (w *world) moved(line string, on bool) {
	station, ok := w.relays[line]
	if !ok {
		return
	}
	w.mu.Lock()
	w.moves = append(w.moves, control.RelayMove{At: time.Now(), Station: station, On: on})
	w.note(control.Change{What: control.ChangeRelay, Station: station, On: on})
	w.mu.Unlock()
	w.log.Info("relay moved", "station", station, "on", on)
}

// start serves the gateway's wires and the people's commands in g until ctx
// ends. Once it returns, a gateway finds everything there.
func (w *world) start(ctx context.Context, g *errgroup.Group, spiListen, spiConnect string) error {
	for _, r := range w.cfg.Readers {
		if err := w.offer(ctx, g, r.Name, spiSocket(w.dir, r.SPI)); err != nil {
			return err
		}
	}
	l, err := listenAt(linesSocket(w.dir))
	if err != nil {
		return err
	}
	if err := w.serveMeters(ctx, g); err != nil {
		return err
	}
	if err := w.forgetClock(); err != nil {
		return err
	}
	g.Go(func() error { return w.lines.serve(ctx, l) })
	g.Go(func() error { return control.Serve(ctx, w.door, w.handler()) })
	g.Go(func() error { w.turn(ctx); return nil })
	if spiListen != "" {
		if err := w.offer(ctx, g, w.cfg.Readers[0].Name, spiListen); err != nil {
			return err
		}
	}
	if spiConnect != "" {
		g.Go(func() error { return w.bring(ctx, spiConnect) })
	}
	return nil
}

// offer puts a reader's chip on a socket.
func (w *world) offer(ctx context.Context, g *errgroup.Group, reader, path string) error {
	l, err := listenAt(path)
	if err != nil {
		return err
	}
	g.Go(func() error { return readertest.Serve(ctx, l, w.chips[reader]) })
	return nil
}

// bringEvery is how often a driver that is not there, or went away, is tried.
const bringEvery = 200 * time.Millisecond

// bring connects the first reader's chip to a driver that listens, again and
// again: drivers come and go.
func (w *world) bring(ctx context.Context, path string) error {
	var d net.Dialer
	for told := false; ctx.Err() == nil; {
		c, err := d.DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			told = false
			w.log.Info("chip connected to its driver", "path", path)
			err = readertest.ServeConn(ctx, c, w.chips[w.cfg.Readers[0].Name])
			w.log.Info("driver left", "path", path, "err", err)
		case !told:
			told = true
			w.log.Warn("no driver listens for the chip", "path", path, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(bringEvery):
		}
	}
	return nil
}

// The world's sockets in the desk's folder.
func linesSocket(dir string) string { return filepath.Join(dir, "lines.sock") }
func spiSocket(dir, device string) string {
	return filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(device, "/dev/"), "/", "_")+".sock")
}

// listenAt opens a socket in place of one that a dead world left.
func listenAt(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is there and is no socket\nhint: move it away, or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("clear %s: %w", path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w (a socket's path holds 107 bytes; choose a shorter --state)", path, err)
	}
	return l, nil
}

// turnEvery is the grain of the machines' time; a pulse lasts four of them.
const (
	turnEvery   = 10 * time.Millisecond
	pulseLength = 40 * time.Millisecond // within the 30 to 120 ms that IEC 62053-31 allows
)

// turn lets time pass for the machines.
func (w *world) turn(ctx context.Context) {
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.mu.Lock()
			for _, m := range w.machines {
				w.draw(m, now, now.Sub(last))
			}
			w.mu.Unlock()
			last = now
		}
	}
}

// draw lets one machine use energy and its meter tell it.
func (w *world) draw(m *machine, now time.Time, dt time.Duration) {
	s := m.station
	powered := w.lines.On(s.Relay) && (s.Plug == "" || m.plugged)
	if m.now = 0; powered {
		m.now = m.watts
		m.joules += m.watts * dt.Seconds()
	}
	if s.Meter.Type != "s0" {
		return
	}
	each := 3.6e6 / float64(s.Meter.PulsesPerKWh)
	switch {
	case now.Sub(m.turned) < pulseLength: // pulse and pause last so long, and longer where the machine is busy
		return
	case m.closed:
		m.closed = false
	case m.joules-m.pulsed >= each:
		m.pulsed += each
		m.closed = true
	default:
		return
	}
	m.turned = now
	w.lines.Drive(s.Meter.Pin, m.closed)
}

// find returns a station's machine; w.mu is held.
func (w *world) find(station string) (*machine, error) {
	m, ok := w.machines[station]
	if !ok {
		return nil, fmt.Errorf("no station %q at this desk; there are %s", station, strings.Join(names(w.machines), ", "))
	}
	return m, nil
}

// reader returns a reader's chip; "" is the first one.
func (w *world) reader(name string) (*readertest.Chip, error) {
	if name == "" && len(w.cfg.Readers) > 0 {
		name = w.cfg.Readers[0].Name
	}
	c, ok := w.chips[name]
	if !ok {
		return nil, fmt.Errorf("no reader %q at this desk; there are %s", name, strings.Join(names(w.chips), ", "))
	}
	return c, nil
}

func (w *world) state() control.World {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := control.World{Machines: map[string]control.Machine{}, Moves: append([]control.RelayMove{}, w.moves...)}
	for id, m := range w.machines {
		out.Machines[id] = control.Machine{Relay: w.lines.On(m.station.Relay), Watts: m.watts, Plugged: m.plugged, Wh: m.joules / 3600}
	}
	return out
}
