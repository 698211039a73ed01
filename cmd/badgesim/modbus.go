package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"time"

	"github.com/simonvetter/modbus"
	"golang.org/x/sync/errgroup"
)

// The desk's Modbus meters are Eastrons: import active energy in kWh and active
// power in W, IEEE 754, high word first, in input registers. The addresses are
// those of the makers' protocol documents, not of package station.
const energyRegister = 0x0048

var powerRegisters = map[string]uint16{"sdm120": 0x000C, "sdm230": 0x000C, "sdm630": 0x0034}

// deskMeters answers for the meters at one address of a Modbus.
type deskMeters struct {
	w     *world
	units map[uint8]*machine
}

var _ modbus.RequestHandler = (*deskMeters)(nil)

// serveMeters opens the addresses of all modbus-tcp meters until ctx ends.
func (w *world) serveMeters(ctx context.Context, g *errgroup.Group) error {
	at := map[string]*deskMeters{}
	for _, m := range w.machines {
		if m.station.Meter.Type != "modbus-tcp" {
			continue
		}
		if _, ok := powerRegisters[m.station.Meter.Model]; !ok {
			return fmt.Errorf("meter %q of station %s: the desk has only %q", m.station.Meter.Model, m.station.ID, names(powerRegisters))
		}
		addr := m.station.Meter.Address
		if at[addr] == nil {
			at[addr] = &deskMeters{w: w, units: map[uint8]*machine{}}
		}
		at[addr].units[uint8(m.station.Meter.Unit)] = m
	}
	for addr, h := range at {
		s, err := modbus.NewServer(&modbus.ServerConfiguration{
			URL: "tcp://" + addr, MaxClients: 8, Timeout: time.Minute, Logger: log.New(io.Discard, "", 0),
		}, h)
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			return fmt.Errorf("open the desk's meter at %s: %w", addr, err)
		}
		g.Go(func() error {
			<-ctx.Done()
			return s.Stop()
		})
	}
	return nil
}

// HandleInputRegisters answers as the meter of the unit does.
func (d *deskMeters) HandleInputRegisters(r *modbus.InputRegistersRequest) ([]uint16, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	m, ok := d.units[r.UnitId]
	if !ok {
		return nil, modbus.ErrGWTargetFailedToRespond
	}
	value := map[uint16]float64{
		energyRegister:                        m.joules / 3.6e6,
		powerRegisters[m.station.Meter.Model]: m.now,
	}
	v, ok := value[r.Addr]
	if !ok || r.Quantity != 2 {
		return nil, modbus.ErrIllegalDataAddress
	}
	bits := math.Float32bits(float32(v))
	return []uint16{uint16(bits >> 16), uint16(bits)}, nil
}

// HandleHoldingRegisters refuses: the meters' settings are nobody's business here.
func (d *deskMeters) HandleHoldingRegisters(*modbus.HoldingRegistersRequest) ([]uint16, error) {
	return nil, modbus.ErrIllegalFunction
}

// HandleCoils refuses: a meter has none.
func (d *deskMeters) HandleCoils(*modbus.CoilsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

// HandleDiscreteInputs refuses: a meter has none.
func (d *deskMeters) HandleDiscreteInputs(*modbus.DiscreteInputsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}
