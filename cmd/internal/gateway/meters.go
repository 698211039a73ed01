package gateway

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"badged/cmd/internal/config"
	"badged/session"
	"badged/station"
	"badged/station/model"
)

// buses are the Modbuses of a gateway. Meters at one address share a bus: a
// serial line carries one question at a time, and many TCP converters take one
// connection only. The zero value is ready.
type buses struct {
	mu sync.Mutex
	m  map[string]*station.Bus // by URL
}

func (b *buses) of(m config.Meter) (*station.Bus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bus := b.m[m.URL()]; bus != nil {
		return bus, nil
	}
	bus, err := station.NewBus(station.BusOpts{URL: m.URL(), Speed: uint(m.Baud), Parity: m.Parity})
	if err != nil {
		return nil, err
	}
	if b.m == nil {
		b.m = map[string]*station.Bus{}
	}
	b.m[m.URL()] = bus
	return bus, nil
}

func (b *buses) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bus := range b.m {
		bus.Close()
	}
}

// meterWatch tells the controller what a meter says, and the log when it changes.
type meterWatch struct {
	*gateway
	station string
	said    string
}

func (w *meterWatch) emit(m station.Sample) {
	s := session.Sample{Register: m.Register, Power: m.PowerW, HasPower: m.HasPower, Lost: m.Err != nil}
	if m.Err != nil {
		s.Why = m.Err.Error()
	}
	if m.Doubt != nil {
		s.Doubt = m.Doubt.Error()
	}
	if err := errors.Join(m.Err, m.Doubt); err == nil {
		w.said = ""
	} else if err.Error() != w.said {
		w.said = err.Error()
		w.log.Warn("meter failed", "station", w.station, "err", err)
	}
	w.ctl.Meter(w.station, s)
}

// runMeter reads a station's meter until ctx ends. A meter that cannot be opened
// or fails is reported as lost and opened again.
func (g *gateway) runMeter(ctx context.Context, s config.Station) error {
	w := &meterWatch{gateway: g, station: s.ID}
	for ctx.Err() == nil {
		err := g.readMeter(ctx, s, w.emit)
		if ctx.Err() != nil {
			return nil
		}
		w.emit(station.Sample{Err: cmp.Or(err, errors.New("stopped without a reason"))})
		wait(ctx, retryInput)
	}
	return nil
}

func (g *gateway) readMeter(ctx context.Context, s config.Station, emit func(station.Sample)) error {
	if s.Meter.Type == "s0" {
		return g.countPulses(ctx, s, emit)
	}
	bus, err := g.buses.of(s.Meter)
	if err != nil {
		return err
	}
	m, err := model.Parse(s.Meter.Model)
	if err != nil {
		return err
	}
	o := station.DefaultModbusOpts
	o.Unit = uint8(s.Meter.Unit)
	meter, err := station.NewModbus(bus, m, o)
	if err != nil {
		return err
	}
	return meter.Run(ctx, emit)
}

func (g *gateway) countPulses(ctx context.Context, s config.Station, emit func(station.Sample)) error {
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

// register is where a pulse counter goes on from.
func (g *gateway) register(id string) session.MilliWattHours {
	for _, s := range g.ctl.Status() {
		if s.ID == id {
			return s.Register
		}
	}
	return 0
}
