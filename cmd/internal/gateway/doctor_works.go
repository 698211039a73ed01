package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/provision"
	"badged/session"
)

// examineStations has the relay and the meter of each station.
func examineStations(c config.Config, now []session.StationStatus) (out []control.Check) {
	for i, s := range now {
		at := "station " + s.ID
		out = append(out, checkRelay(c.Stations[i], s).Named(at+": relay"), checkMeter(c.Stations[i], s).Named(at+": meter"))
	}
	return out
}

func checkRelay(c config.Station, s session.StationStatus) control.Check {
	where := "open"
	if s.Relay {
		where = "closed"
	}
	switch {
	case s.Fault != "":
		return control.Failed(errors.New(s.Fault), "correct station.relay, now "+c.Relay+", or free that line: gpioinfo shows who has it")
	case s.Disabled:
		return control.Warn("badgectl station "+s.ID+" enable, once it may be used again", "%s, on %s; the station is taken out of service", where, c.Relay)
	}
	return control.Fine("%s, on %s, closes with a %s level; --relays tries it", where, c.Relay, level(c.RelayActiveLow))
}

func level(activeLow bool) string {
	if activeLow {
		return "low"
	}
	return "high"
}

func checkMeter(c config.Station, s session.StationStatus) control.Check {
	switch {
	case c.Meter.Type == "none":
		return control.Fine("none; a session runs %v", max(c.RunTime, c.MaxDuration))
	case s.MeterFault == session.MeterUnread:
		return control.Warn("ask again in a minute; then: "+meterAdvice(c.Meter), "%s", s.MeterFault)
	case s.MeterFault != "":
		return control.Failed(errors.New(s.MeterFault), meterAdvice(c.Meter))
	}
	text := fmt.Sprintf("%s reads %.3f kWh", c.Meter.Type, float64(s.Register)/1e6)
	if c.Meter.Type != "s0" {
		text += fmt.Sprintf(", %d W", s.Power)
	}
	if c.Meter.Type == "s0" && s.Register == 0 {
		return control.Warn(fmt.Sprintf("let the machine draw power and ask again: at %d pulses a kWh, 1 kW is a pulse every %v; if none comes, swap + and - of the pulse output on %s",
			c.Meter.PulsesPerKWh, pulseEvery(c.Meter.PulsesPerKWh), c.Meter.Pin), "no pulse has come yet")
	}
	return control.Fine("%s", text)
}

func pulseEvery(perKWh int) time.Duration {
	return (time.Hour / time.Duration(max(perKWh, 1))).Round(100 * time.Millisecond)
}

func meterAdvice(m config.Meter) string {
	switch m.Type {
	case "s0":
		return "correct station.meter.pin, now " + m.Pin + ", or free that line: gpioinfo shows who has it"
	case "modbus-rtu":
		return fmt.Sprintf("check A and B at %s, the termination, %d baud and parity %s, and that the meter is unit %d", m.Address, m.Baud, m.Parity, m.Unit)
	}
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		host = m.Address
	}
	return fmt.Sprintf("check that ping %s gets an answer, then that the meter is unit %d and speaks Modbus TCP", host, m.Unit)
}

// checkClock asks who has set the clock.
func checkClock(at session.Stamp, by string) control.Check {
	const ask = "check the network, then timedatectl timesync-status; sessions start all the same, their time is told later"
	c := control.Fine("%s, set by %s", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"), by)
	switch at.Clock {
	case session.ClockEstimated:
		c = control.Warn(ask, "%s, carried over or from an RTC; no time server has answered since the board started", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"))
	case session.ClockUnknown:
		c = control.Warn(ask, "not set: it says %s", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return c.Named("clock")
}

// databaseTimeout bounds the reading of the databases; a million badges take seconds.
const databaseTimeout = 30 * time.Second

// examineDatabases reads both databases from end to end.
func (g *gateway) examineDatabases(ctx context.Context) (out []control.Check) {
	for _, db := range []struct {
		name  string
		check func(context.Context) error
	}{{"list.db", g.list.Check}, {"ledger.db", g.ledger.Check}} {
		at, cancel := context.WithTimeout(ctx, databaseTimeout)
		err := db.check(at)
		c := control.Fine("read from end to end, nothing is damaged")
		switch {
		case at.Err() != nil:
			c = control.Warn("the card is slow: if it gets slower, replace it", "not read to its end within %v", databaseTimeout)
		case err != nil:
			c = control.Failed(err, "it is put aside and made anew by itself, see docs/ledger.md; the card may be failing: replace it")
		}
		cancel()
		out = append(out, c.Named("database "+db.name))
	}
	return out
}

// checkBroker asks how the connection is.
func checkBroker(b control.BrokerStatus) control.Check {
	c := control.Fine("%s, connected since %s", b.URL, b.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	switch {
	case !b.Connected && b.Error == "":
		c = control.Warn("ask again in a minute", "%s, not connected yet", b.URL)
	case !b.Connected:
		c = control.Failed(fmt.Errorf("sessions go on and are reported later; not connected after %d attempts: %s", b.Attempts, b.Error),
			"ask the broker's operator, with these words")
	}
	return c.Named("broker")
}

// refusedAdvice is for a list that comes and is not taken: only a key is in the
// technician's hands.
const refusedAdvice = "tell the office these words; if a key is not among the pinned keys, ask it for its list-keys.jwks: it belongs where list.keys points"

// checkList asks for the age and the signature of the list in force.
func checkList(c config.Config, l control.ListStatus, connected bool, now session.Stamp) control.Check {
	age := now.Wall.Sub(l.IssuedAt)
	text := fmt.Sprintf("%s version %d.%d, %d badges, signed %s", l.List, l.Epoch, l.Version, l.Count, l.IssuedAt.UTC().Format(time.DateOnly))
	check := control.Fine("%s", text)
	switch {
	case l.Version == 0 && l.Error != "":
		check = control.Failed(fmt.Errorf("%s: no list yet, every badge is unknown; what came was not taken: %s", l.List, l.Error), refusedAdvice)
	case l.Version == 0 && !connected:
		check = control.Failed(fmt.Errorf("%s: no list yet, every badge is unknown", l.List), "see to the broker first: the list comes from there")
	case l.Version == 0:
		check = control.Failed(fmt.Errorf("%s: no list yet, every badge is unknown", l.List),
			"ask the office to push it; there: badgectl list show --list "+l.List+" --broker "+c.Broker.URL.String())
	case l.State == "incomplete" && l.Error != "":
		check = control.Warn("if it is about a file, see disk above; else ask the office whether badgectl list watch runs: it sends what the broker lost",
			"%s; a newer one is announced and does not come whole: %s", text, l.Error)
	case l.State == "incomplete":
		check = control.Warn("ask the office whether badgectl list watch runs: it sends what the broker lost", "%s; a newer one is announced and does not come whole", text)
	case now.Clock == session.ClockSynced && age > c.List.MaxAge && !connected:
		check = control.Warn("see to the broker first: the list comes from there", "%s, %d days ago, more than list.max_age", text, age/(24*time.Hour))
	case now.Clock == session.ClockSynced && age > c.List.MaxAge:
		check = control.Warn("ask the office whether badgectl list watch runs: it signs the list daily", "%s, %d days ago, more than list.max_age", text, age/(24*time.Hour))
	case l.Refused > 0 && l.Error != "": // else what was refused before is over
		check = control.Warn(refusedAdvice, "%s; %d messages refused, the last one: %s", text, l.Refused, l.Error)
	}
	return check.Named("list")
}

// muchUnacknowledged is more than a busy day leaves while a backend is away.
const muchUnacknowledged = 1000

// checkLedger asks what the backend has.
func checkLedger(c config.Config, o session.Outbox) control.Check {
	missing := o.End - o.Committed
	check := control.Fine("%d records, %d not yet acknowledged by the backend", o.End, missing)
	switch {
	case c.Broker.AckByBroker && missing == 0:
		check = control.Fine("%d records, all taken by the broker, whose word counts here", o.End)
	case missing > muchUnacknowledged:
		check = control.Warn("ask the office whether its backend runs and acknowledges: docs/backend.md", "%d records, %d not acknowledged by the backend", o.End, missing)
	}
	return check.Named("ledger")
}

// quietFor is how long a reader of a laundry may see nobody before it is strange.
const quietFor = 7 * 24 * time.Hour

// checkTaps asks when somebody was here last.
func (g *gateway) checkTaps() control.Check {
	at := time.Duration(g.tapped.Load())
	since := uptime() - at
	c := control.Fine("the last one %v ago", since.Round(time.Second))
	running := time.Since(g.started)
	switch {
	case at == 0 && running > quietFor:
		c = control.Warn("tap a badge at every reader", "none since the start %d days ago", running/(24*time.Hour))
	case at == 0:
		c = control.Fine("none since the start %v ago; tap one to see it", running.Round(time.Second))
	case since > quietFor:
		c = control.Warn("tap a badge at every reader", "the last one %d days ago", since/(24*time.Hour))
	}
	return c.Named("taps")
}

// checkProvisioning asks how the configuration came here, and whether it is on trial.
func checkProvisioning(s provision.State, onTrial bool) control.Check {
	check := control.Fine("none: the configuration was written by hand")
	switch {
	case s.Outcome.Bad():
		check = control.Failed(errors.New(s.Text), "docs/provisioning.md says what to do; a corrected file on the boot partition is tried at the next start")
	case onTrial:
		check = control.Warn("see that it connects: after 15 minutes it goes back to the one before, if that one can", "a new configuration is on trial")
	case s.Outcome != "":
		check = control.Fine("%s", s.Text)
	}
	return check.Named("provisioning")
}

// checkKnownFaults repeats what the status says is wrong.
func checkKnownFaults(faults []string) []control.Check {
	if len(faults) == 0 {
		return []control.Check{control.Fine("none known").Named("faults")}
	}
	var out []control.Check
	for _, f := range faults {
		out = append(out, control.Failed(errors.New(f), "see what it says, and: journalctl -u badged").Named("faults"))
	}
	return out
}
