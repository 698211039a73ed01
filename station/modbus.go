package station

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"sync"
	"time"

	"github.com/simonvetter/modbus"

	"badged/session"
	"badged/station/model"
)

// BusOpts says how a Modbus is reached.
type BusOpts struct {
	URL     string        // "tcp://10.0.0.7:502" or "rtu:///dev/ttyUSB0"
	Speed   uint          // of a serial line, in baud; 0 is 9600
	Parity  string        // of a serial line: "none" (or ""), "even", "odd"
	Timeout time.Duration // for one answer; 0 is a second
}

// Bus is a Modbus TCP connection or a serial line with one or more meters on
// it. It connects when it is needed and again after an error. It is safe for
// concurrent use.
type Bus struct {
	mu     sync.Mutex
	client *modbus.ModbusClient
	isOpen bool
}

// NewBus returns a bus that is not connected yet.
func NewBus(o BusOpts) (*Bus, error) {
	c := modbus.ClientConfiguration{
		URL:      o.URL,
		Speed:    o.Speed,
		StopBits: 1, // as the meters come; the library would take 2 without parity
		Timeout:  o.Timeout,
		Logger:   log.New(io.Discard, "", 0), // the errors are returned
	}
	if c.Speed == 0 {
		c.Speed = 9600
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	switch o.Parity {
	case "", "none":
		c.Parity = modbus.PARITY_NONE
	case "even":
		c.Parity = modbus.PARITY_EVEN
	case "odd":
		c.Parity = modbus.PARITY_ODD
	default:
		return nil, fmt.Errorf("modbus %s: parity %q, want none, even or odd", o.URL, o.Parity)
	}
	client, err := modbus.NewClient(&c)
	if err != nil {
		return nil, fmt.Errorf("modbus %q: want tcp://host:port or rtu:///dev/tty...: %w", o.URL, err)
	}
	return &Bus{client: client}, nil
}

// Close leaves the bus; the next read connects again.
func (b *Bus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.close()
}

func (b *Bus) close() error {
	if !b.isOpen {
		return nil
	}
	b.isOpen = false
	return b.client.Close()
}

// read is one meter's sample. An exception is an answer; any other error leaves
// the bus, so that late bytes of it meet no later question.
func (b *Bus) read(unit uint8, m model.Model) (Sample, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.isOpen {
		if err := b.client.Open(); err != nil {
			return Sample{}, fmt.Errorf("connect: %w", err)
		}
		b.isOpen = true
	}
	b.client.SetUnitId(unit)
	s, err := b.sample(m)
	if err != nil && !isException(err) {
		err = errors.Join(err, b.close())
	}
	return s, err
}

func (b *Bus) sample(m model.Model) (s Sample, err error) {
	mWh, err := b.quantity(m.Energy)
	if err != nil {
		return s, fmt.Errorf("read energy: %w", err)
	}
	if s.Register, err = toEnergy(mWh); err != nil || m.Power == nil {
		return s, err
	}
	w, err := b.quantity(*m.Power)
	if err != nil {
		return s, fmt.Errorf("read power: %w", err)
	}
	s.HasPower = true
	s.PowerW, err = toPower(w)
	return s, err
}

func (b *Bus) quantity(q model.Quantity) (float64, error) {
	words, err := b.client.ReadRegisters(q.Address, q.Words(), q.Table)
	if err != nil {
		return 0, err
	}
	if len(words) != int(q.Words()) {
		return 0, fmt.Errorf("answer of %d registers, want %d", len(words), q.Words())
	}
	return q.Value(words), nil
}

func isException(err error) bool {
	for _, e := range []error{modbus.ErrIllegalFunction, modbus.ErrIllegalDataAddress, modbus.ErrIllegalDataValue,
		modbus.ErrServerDeviceFailure, modbus.ErrServerDeviceBusy} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ModbusOpts says how a meter is asked.
type ModbusOpts struct {
	Unit     uint8         // its address on the bus, 1 to 247
	Interval time.Duration // between two questions
	Misses   int           // answers that may fail in a row before it counts as silent
}

// DefaultModbusOpts is the first meter on a bus, asked every 2 s.
var DefaultModbusOpts = ModbusOpts{Unit: 1, Interval: 2 * time.Second, Misses: 3}

// Modbus polls a meter on a Modbus.
type Modbus struct {
	bus   *Bus
	model model.Model
	o     ModbusOpts
	last  session.MilliWattHours
}

// NewModbus returns a meter on bus; Run asks it.
func NewModbus(bus *Bus, m model.Model, o ModbusOpts) (*Modbus, error) {
	if o.Unit < 1 || o.Unit > 247 {
		return nil, fmt.Errorf("modbus unit %d: want 1 to 247, as set at the meter", o.Unit)
	}
	if o.Interval <= 0 || o.Misses < 1 {
		return nil, fmt.Errorf("modbus unit %d asked every %s, silent after %d misses: want more than 0", o.Unit, o.Interval, o.Misses)
	}
	return &Modbus{bus: bus, model: m, o: o}, nil
}

// Run calls emit with every answer and, once the meter has been silent Misses
// times, with the error of every question, until it is back. It returns nil
// when ctx ends, at the latest after the bus' timeouts.
func (m *Modbus) Run(ctx context.Context, emit func(Sample)) error {
	next := time.NewTicker(m.o.Interval)
	defer next.Stop()
	for misses := 0; ; {
		s, err := m.bus.read(m.o.Unit, m.model)
		if misses++; err == nil {
			misses, m.last = 0, s.Register
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			emit(s)
		case misses >= m.o.Misses:
			emit(Sample{Register: m.last, Err: fmt.Errorf("modbus meter %d: %w", m.o.Unit, err)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
	}
}

// maxRegister is far beyond any meter's life: a GWh.
const maxRegister = 1e12

// toEnergy refuses what cannot be a meter's register.
func toEnergy(mWh float64) (session.MilliWattHours, error) {
	if !(mWh >= 0 && mWh <= maxRegister) { // NaN is neither
		return 0, fmt.Errorf("energy register of %g Wh: wrong model, or a damaged answer", mWh/1000)
	}
	return session.MilliWattHours(math.Round(mWh)), nil
}

// toPower refuses what no line of a house can carry.
func toPower(w float64) (float64, error) {
	const most = 1e6
	if !(math.Abs(w) <= most) {
		return 0, fmt.Errorf("power of %g W: wrong model, or a damaged answer", w)
	}
	return w, nil
}
