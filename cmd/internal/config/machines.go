package config

import (
	"regexp"
	"slices"
	"time"

	"badged/mifare"
	"badged/session"
)

// spiPattern is a device node of the kernel's spidev: bus and chip select.
var spiPattern = regexp.MustCompile(`^/dev/spidev[0-9]+\.[0-9]+$`)

func (r readerTable) config(p *problems, at string) Reader {
	policy := mifare.DefaultPolicy()
	policy.Dual, policy.TNP3xxx = r.Dual, r.TNP3xxx
	if r.Plus != nil {
		policy.Plus = *r.Plus
	}
	out := Reader{
		Name:     p.id(at+".name", r.Name),
		SPI:      p.need(at+".spi", r.SPI, `a device, such as "/dev/spidev0.0"`),
		SpeedMHz: p.within(at+".speed_mhz", r.SpeedMHz, 4, 0.1, 10),
		Reset:    r.Reset,
		IRQ:      r.IRQ,
		GainDB:   r.GainDB,
		Poll:     r.Poll.or(40 * time.Millisecond),
		Cards:    policy,
		Shadow:   r.Shadow.policy(p, at+".shadow", policy),
	}
	if r.SPI != "" && !spiPattern.MatchString(r.SPI) {
		p.add(at+".spi", `%q: want a device, such as "/dev/spidev0.0"`, r.SPI)
	}
	if out.GainDB == 0 {
		out.GainDB = 33
	}
	if !slices.Contains([]int{18, 23, 33, 38, 43, 48}, out.GainDB) {
		p.add(at+".gain_db", "%d dB: the chip has 18, 23, 33, 38, 43 and 48; 33 suits most, 48 saturates", r.GainDB)
	}
	if out.Poll < 10*time.Millisecond || out.Poll > time.Second {
		p.add(at+".poll", "%v: want 10ms to 1s; 40ms is felt as at once", out.Poll)
	}
	return out
}

// policy is the one that is tried out, where the table leaves something open the
// one in force. It can only be stricter: what would have become of a card that
// was refused, nobody knows.
func (s shadowTable) policy(p *problems, at string, inForce mifare.Policy) mifare.Policy {
	tried := inForce
	for _, o := range []struct {
		name    string
		set, to *bool
	}{{"dual", s.Dual, &tried.Dual}, {"plus", s.Plus, &tried.Plus}, {"tnp3xxx", s.TNP3xxx, &tried.TNP3xxx}} {
		if o.set == nil {
			continue
		}
		if *o.set && !*o.to {
			p.add(at+"."+o.name, "true, and the reader takes none: a shadow counts what stricter settings would refuse; want false")
		}
		*o.to = *o.set
	}
	return tried
}

func (s stationTable) config(p *problems, at string, zone *time.Location) Station {
	kind := session.Service(p.oneOf(at+".kind", s.Kind, "", "laundry", "charging"))
	m := s.Meter.config(p, at+".meter")
	sc := session.DefaultStation(kind)
	sc.ID = p.id(at+".id", s.ID)
	sc.Reader = s.Reader
	sc.Private = s.Private
	sc.Meter = m.Type != "none"
	sc.MeterPower = m.Type == "modbus-tcp" || m.Type == "modbus-rtu"
	sc.Plug = s.Plug != ""
	hours, err := session.ParseHours(s.Hours)
	if err != nil {
		p.add(at+".hours", `%v; want such as "Mo-Sa 07:00-21:00"`, err)
	}
	sc.Hours = hours
	s.durations(&sc)
	sc.IdlePower = p.power(at+".idle_power_w", s.IdlePower, sc.IdlePower)
	sc.StandbyPower = p.power(at+".standby_w", s.StandbyPower, sc.StandbyPower)
	return Station{
		StationConfig: sc, Serial: s.Serial, Meter: m,
		Relay:          p.need(at+".relay", s.Relay, `the name of a line, such as "GPIO17"`),
		RelayActiveLow: p.oneOf(at+".relay_active", s.RelayActive, "high", "high", "low") == "low",
		Plug:           s.Plug, Select: s.Select,
	}
}

func (s stationTable) durations(sc *session.StationConfig) {
	for _, d := range []struct {
		from duration
		to   *time.Duration
	}{
		{s.StartTimeout, &sc.StartTimeout}, {s.DelayMax, &sc.DelayMax}, {s.IdleFor, &sc.IdleFor},
		{s.EarliestEnd, &sc.EarliestEnd}, {s.MaxDuration, &sc.MaxDuration}, {s.DoorRelease, &sc.DoorRelease},
		{s.RunTime, &sc.RunTime}, {s.ResumeWithin, &sc.ResumeWithin}, {s.ResumeWait, &sc.ResumeWait},
	} {
		*d.to = d.from.or(*d.to)
	}
}
