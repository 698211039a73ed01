package config

import (
	"strings"

	"badged/station/model"
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
	if _, err := model.Parse(m.Model); err != nil {
		p.add(at+".model", "%v", err)
	}
}

// URL is how the Modbus library names the bus of a meter.
func (m Meter) URL() string {
	if m.Type == "modbus-rtu" {
		return "rtu://" + m.Address
	}
	return "tcp://" + m.Address
}
