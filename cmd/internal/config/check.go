package config

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"badged/session"
)

// check looks at what only shows when values are seen together.
func (c Config) check(p *problems) {
	if len(c.Readers) == 0 {
		p.add("reader", "missing; want at least one [[reader]]")
	}
	if len(c.Stations) == 0 {
		p.add("station", "missing; want at least one [[station]]")
	}
	c.checkNames(p)
	c.checkPins(p)
	c.checkBuses(p)
	for i, s := range c.Stations {
		s.check(p, fmt.Sprintf("station[%d]", i))
	}
}

func (c Config) checkNames(p *problems) {
	readers, devices, stations := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, r := range c.Readers {
		at := fmt.Sprintf("reader[%d]", i)
		once(p, readers, at+".name", r.Name)
		once(p, devices, at+".spi", r.SPI)
	}
	for i, s := range c.Stations {
		at := fmt.Sprintf("station[%d]", i)
		once(p, stations, at+".id", s.ID)
		if !readers[s.Reader] {
			p.add(at+".reader", "%q is no reader of this file; want one of %q", s.Reader, slices.Sorted(maps.Keys(readers)))
		}
	}
}

func once(p *problems, seen map[string]bool, key, name string) {
	if seen[name] && name != "" {
		p.add(key, "%q is used twice", name)
	}
	seen[name] = true
}

// Use is one use of a GPIO line: by the value of Key in the file.
type Use struct{ Key, Line string }

// Lines lists every GPIO line that the config uses.
func (c Config) Lines() []Use {
	var out []Use
	add := func(key, line string) {
		if line != "" {
			out = append(out, Use{key, line})
		}
	}
	for i, r := range c.Readers {
		at := fmt.Sprintf("reader[%d]", i)
		add(at+".reset", r.Reset)
		add(at+".irq", r.IRQ)
	}
	for i, s := range c.Stations {
		at := fmt.Sprintf("station[%d]", i)
		add(at+".relay", s.Relay)
		add(at+".plug", s.Plug)
		add(at+".select", s.Select)
		if s.Meter.Type == "s0" {
			add(at+".meter.pin", s.Meter.Pin)
		}
	}
	add("panel.green", c.Panel.Green)
	add("panel.red", c.Panel.Red)
	add("panel.buzzer", c.Panel.Buzzer)
	return out
}

// The header lines that a Raspberry Pi's buses occupy once they are switched on.
var busPins = map[string][]string{
	"/dev/spidev0": {"GPIO7", "GPIO8", "GPIO9", "GPIO10", "GPIO11"},
	"/dev/i2c-1":   {"GPIO2", "GPIO3"},
}

func (c Config) checkPins(p *problems) {
	taken := map[string]string{}
	for _, r := range c.Readers {
		for _, line := range spiPins(r.SPI) {
			taken[line] = r.SPI
		}
	}
	for _, line := range busPins[c.Panel.Display] {
		taken[line] = c.Panel.Display
	}
	for _, u := range c.Lines() {
		if by, ok := taken[u.Line]; ok {
			p.add(u.Key, "%s is taken by %s; want a line of its own", u.Line, by)
			continue
		}
		taken[u.Line] = u.Key
	}
}

// checkBuses wants meters on one bus to agree about it, and each to be one
// station's: energy is billed once.
func (c Config) checkBuses(p *problems) {
	buses, meters := map[string]Meter{}, map[string]string{}
	for i, s := range c.Stations {
		m, at := s.Meter, fmt.Sprintf("station[%d].meter", i)
		if !strings.HasPrefix(m.Type, "modbus-") || m.Address == "" {
			continue
		}
		first, shared := buses[m.URL()]
		if shared && (first.Baud != m.Baud || first.Parity != m.Parity) {
			p.add(at+".address", "%s has %d baud, parity %s at another station; want one speed and parity on one line", m.Address, first.Baud, first.Parity)
		}
		buses[m.URL()] = m
		who := fmt.Sprintf("%s unit %d", m.URL(), m.Unit)
		if by, ok := meters[who]; ok {
			p.add(at+".unit", "%d at %s is the meter of %s; want a meter of its own", m.Unit, m.Address, by)
		}
		meters[who] = s.ID
	}
}

// spiPins are the lines of the bus that a device such as /dev/spidev1.2 is on.
// The second bus has three chip selects, and only those in use are occupied.
func spiPins(dev string) []string {
	bus, cs, _ := strings.Cut(path.Clean(dev), ".")
	if bus != "/dev/spidev1" {
		return busPins[bus]
	}
	lines := []string{"GPIO19", "GPIO20", "GPIO21"}
	if sel, ok := map[string]string{"0": "GPIO18", "1": "GPIO17", "2": "GPIO16"}[cs]; ok {
		lines = append(lines, sel)
	}
	return lines
}

func (s Station) check(p *problems, at string) {
	if s.Kind == session.Laundry && !s.StationConfig.Meter && s.RunTime == 0 {
		p.add(at+".meter", "laundry without a meter never ends; want a [station.meter] or run_time")
	}
	if s.Meter.Type == "s0" && s.Kind == session.Laundry {
		s.checkS0(p, at)
	}
	if _, _, err := net.SplitHostPort(s.Meter.Address); s.Meter.Type == "modbus-tcp" && err != nil {
		p.add(at+".meter.address", `%q: want host and port, such as "192.0.2.7:502"`, s.Meter.Address)
	}
	if s.Kind == session.Laundry && s.IdleFor > s.MaxDuration {
		p.add(at+".idle_for", "%v is longer than max_duration %v", s.IdleFor, s.MaxDuration)
	}
	if s.Kind == session.Laundry && s.Plug != "" {
		p.add(at+".plug", "laundry has no plug; want it at a charging station")
	}
	if s.Kind == session.Laundry && s.EarliestEnd > s.MaxDuration {
		p.add(at+".earliest_end", "%v is later than max_duration %v", s.EarliestEnd, s.MaxDuration)
	}
}

// checkS0 refuses a window in which a meter that pulses too rarely cannot tell
// an idle machine from a busy one.
func (s Station) checkS0(p *problems, at string) {
	if s.IdlePower <= 0 {
		p.add(at+".idle_power_w", "%v W: an S0 meter never shows exactly nothing; want what the machine draws when it is done, such as 15", s.IdlePower)
		return
	}
	gap := time.Duration(3.6e6 / (float64(s.Meter.PulsesPerKWh) * s.IdlePower) * float64(time.Second))
	if least := gap * 3 / 2; s.IdleFor < least {
		p.add(at+".idle_for", "%v: at %v W a pulse comes every %v; want at least %v, or a meter with more pulses per kWh",
			s.IdleFor, s.IdlePower, gap.Round(time.Second), least.Round(time.Second))
	}
}
