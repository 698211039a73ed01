package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"badged/session"
	"badged/station"
)

// relay takes its line with the first value that the session machine gives it,
// so that a restart requests the line as the journal says and never moves it.
type relay struct {
	wire Wire
	hw   Hardware

	mu  sync.Mutex
	out station.Output
}

// Set closes or opens the contact; see session.Power.
func (r *relay) Set(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil {
		return r.out.Set(on)
	}
	out, err := r.hw.Output(r.wire, on)
	if err != nil {
		return fmt.Errorf("relay of %s: %w", r.wire.Station, err)
	}
	r.out = out
	return out.Set(on) // a line that was kept over the restart stands as it stood
}

// retryInput is how long a line or meter that failed is left alone.
const retryInput = 5 * time.Second

// runMeter reads a station's meter until ctx ends. A meter that cannot be opened
// or fails is reported as lost and opened again.
func (g *gateway) runMeter(ctx context.Context, s Station) error {
	lost := false
	emit := func(m station.Sample) {
		if m.Err != nil && !lost {
			g.log.Warn("meter failed", "station", s.ID, "err", m.Err)
		}
		lost = m.Err != nil
		g.ctl.Meter(s.ID, session.Sample{Register: m.Register, Power: m.PowerW, HasPower: m.HasPower, Lost: lost})
	}
	for ctx.Err() == nil {
		err := g.readMeter(ctx, s, emit)
		if ctx.Err() != nil {
			return nil
		}
		emit(station.Sample{Err: errors.Join(errors.New("meter stopped"), err)})
		wait(ctx, retryInput)
	}
	return nil
}

func (g *gateway) readMeter(ctx context.Context, s Station, emit func(station.Sample)) error {
	if s.Meter.Type == "s0" {
		in, err := g.hw.Input(s.Meter.Pin)
		if err != nil {
			return err
		}
		defer in.Close()
		o := station.DefaultS0Opts
		o.PulsesPerKWh = s.Meter.PulsesPerKWh
		o.Start = g.register(s.ID)
		o.Alive = min(o.Alive, max(s.IdleFor/8, 100*time.Millisecond)) // the end is judged at samples
		m, err := station.NewS0(in, o)
		if err != nil {
			return err
		}
		return m.Run(ctx, emit)
	}
	scheme := map[string]string{"modbus-tcp": "tcp://", "modbus-rtu": "rtu://"}[s.Meter.Type]
	bus, err := station.NewBus(station.BusOpts{URL: scheme + s.Meter.Address})
	if err != nil {
		return err
	}
	defer bus.Close()
	model, err := station.ParseModel(s.Meter.Model)
	if err != nil {
		return err
	}
	o := station.DefaultModbusOpts
	o.Unit = uint8(s.Meter.Unit)
	m, err := station.NewModbus(bus, model, o)
	if err != nil {
		return err
	}
	return m.Run(ctx, emit)
}

// register is where a pulse counter goes on from.
func (g *gateway) register(id string) session.MilliWattHours {
	for _, s := range g.ctl.Status() {
		if s.ID == id {
			return s.Register
		}
	}
	return 0
}

// runInput follows a contact: f hears its level at first and after every change.
func (g *gateway) runInput(ctx context.Context, line string, f func(active bool)) error {
	said := ""
	for ctx.Err() == nil {
		err := g.followInput(ctx, line, f)
		if ctx.Err() == nil && err != nil && err.Error() != said {
			said = err.Error()
			g.log.Warn("input failed", "line", line, "err", err)
		}
		wait(ctx, retryInput)
	}
	return nil
}

func (g *gateway) followInput(ctx context.Context, line string, f func(bool)) error {
	in, err := g.hw.Input(line)
	if err != nil {
		return err
	}
	defer in.Close()
	active, err := in.Active()
	if err != nil {
		return err
	}
	f(active)
	return in.Edges(ctx, func(station.Edge) {
		// What counts is where the contact came to rest, not each bounce on the way.
		if now, err := in.Active(); err == nil && now != active {
			active = now
			f(active)
		}
	})
}

// openPanel takes the lines of lights and buzzer. A panel without one of its
// parts still shows the rest.
func openPanel(hw Hardware, c Config, log *slog.Logger) *station.Panel {
	open := func(line string) station.Output {
		if line == "" {
			return nil
		}
		out, err := hw.Output(Wire{Line: line}, false)
		if err != nil {
			log.Warn("panel incomplete", "line", line, "err", err)
			return nil
		}
		return out
	}
	o := station.PanelOpts{Language: c.Language, Fault: func(err error) {
		if err != nil {
			log.Warn("panel failed", "err", err)
		}
	}}
	o.Green, o.Red, o.Buzzer = open(c.Panel.Green), open(c.Panel.Red), open(c.Panel.Buzzer)
	return station.NewPanel(o)
}

// wait sleeps until d is over or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
