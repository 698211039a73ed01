package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"badged/session"
	"badged/station"
)

// Meter is how a station is metered.
type Meter struct {
	Type         string // s0, modbus-tcp, modbus-rtu, none
	Pin          string
	PulsesPerKWh int
	Address      string // host:port, or a serial device
	Unit         int
	Model        string
	Baud         int // of a serial line
	Parity       string
}

func (m meterTable) config(p *problems, at string) Meter {
	out := Meter{
		Type: p.oneOf(at+".type", m.Type, "none", "s0", "modbus-tcp", "modbus-rtu", "none"),
		Pin:  m.Pin, PulsesPerKWh: m.PulsesPerKWh, Address: m.Address, Unit: m.Unit, Model: m.Model,
	}
	switch out.Type {
	case "s0":
		p.need(at+".pin", m.Pin, `the name of a line, such as "GPIO27"`)
		out.PulsesPerKWh = int(p.within(at+".pulses_per_kwh", float64(m.PulsesPerKWh), 1000, 1, 100_000))
	case "modbus-tcp":
		p.need(at+".address", m.Address, `host and port, such as "192.0.2.7:502"`)
	case "modbus-rtu":
		p.need(at+".address", m.Address, `a serial device, such as "/dev/ttyUSB0"`)
	}
	if strings.HasPrefix(out.Type, "modbus-") {
		m.modbus(p, at, &out)
	}
	return out
}

func (m meterTable) modbus(p *problems, at string, out *Meter) {
	out.Unit = int(p.within(at+".unit", float64(m.Unit), 1, 1, 247))
	out.Baud = int(p.within(at+".baud", float64(m.Baud), 9600, 300, 115200))
	out.Parity = p.oneOf(at+".parity", m.Parity, "none", "none", "even", "odd")
	if _, err := station.ParseModel(m.Model); err != nil {
		p.add(at+".model", "%v", err)
	}
}

// buses are the Modbuses of a gateway. Meters at one address share a bus: a
// serial line carries one question at a time, and many TCP converters take one
// connection only. The zero value is ready.
type buses struct {
	mu sync.Mutex
	m  map[string]*station.Bus // by URL
}

// url is how the Modbus library names the bus of a meter.
func (m Meter) url() string {
	if m.Type == "modbus-rtu" {
		return "rtu://" + m.Address
	}
	return "tcp://" + m.Address
}

func (b *buses) of(m Meter) (*station.Bus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bus := b.m[m.url()]; bus != nil {
		return bus, nil
	}
	bus, err := station.NewBus(station.BusOpts{URL: m.url(), Speed: uint(m.Baud), Parity: m.Parity})
	if err != nil {
		return nil, err
	}
	if b.m == nil {
		b.m = map[string]*station.Bus{}
	}
	b.m[m.url()] = bus
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
func (g *gateway) runMeter(ctx context.Context, s Station) error {
	w := &meterWatch{gateway: g, station: s.ID}
	for ctx.Err() == nil {
		err := g.readMeter(ctx, s, w.emit)
		if ctx.Err() != nil {
			return nil
		}
		w.emit(station.Sample{Err: errors.Join(errors.New("meter stopped"), err)})
		wait(ctx, retryInput)
	}
	return nil
}

func (g *gateway) readMeter(ctx context.Context, s Station, emit func(station.Sample)) error {
	if s.Meter.Type == "s0" {
		return g.countPulses(ctx, s, emit)
	}
	bus, err := g.buses.of(s.Meter)
	if err != nil {
		return err
	}
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

func (g *gateway) countPulses(ctx context.Context, s Station, emit func(station.Sample)) error {
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
