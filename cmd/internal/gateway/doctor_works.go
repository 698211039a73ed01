package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		out = append(out, named(at+": relay", checkRelay(c.Stations[i], s))...)
		out = append(out, named(at+": meter", checkMeter(c.Stations[i], s))...)
	}
	return out
}

// meterFault begins what a station says when its meter is what fails.
const meterFault = "meter"

func checkRelay(c config.Station, s session.StationStatus) control.Check {
	where := "open"
	if s.Relay {
		where = "closed"
	}
	switch {
	case s.Fault != "" && !strings.HasPrefix(s.Fault, meterFault):
		return failed(errors.New(s.Fault), "check the line in station.relay and who else uses it: gpioinfo")
	case s.Disabled:
		return warn("badgectl station "+s.ID+" enable, once it may be used again", "%s, on %s; the station is taken out of service", where, c.Relay)
	}
	return fine("%s, on %s, closes with a %s level; --relays tries it", where, c.Relay, level(c.RelayActiveLow))
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
		return fine("none; a session runs %v", max(c.RunTime, c.MaxDuration))
	case strings.HasPrefix(s.Fault, meterFault):
		return failed(errors.New(s.Fault), meterAdvice(c.Meter))
	case !s.Metered:
		return warn("ask again in a minute; then: "+meterAdvice(c.Meter), "not read yet")
	}
	text := fmt.Sprintf("%s reads %.3f kWh", c.Meter.Type, float64(s.Register)/1e6)
	if c.Meter.Type != "s0" {
		text += fmt.Sprintf(", %d W", s.Power)
	}
	if c.Meter.Type == "s0" && s.Register == 0 {
		return warn("let the machine draw power and ask again: at "+fmt.Sprint(c.Meter.PulsesPerKWh)+" pulses a kWh, 1 kW is a pulse every "+
			pulseEvery(c.Meter.PulsesPerKWh).String(), "no pulse has come yet")
	}
	return fine("%s", text)
}

func pulseEvery(perKWh int) time.Duration {
	return (time.Hour / time.Duration(max(perKWh, 1))).Round(100 * time.Millisecond)
}

func meterAdvice(m config.Meter) string {
	switch m.Type {
	case "s0":
		return "check the pulse output on " + m.Pin + ", its polarity and its pull-up"
	case "modbus-rtu":
		return fmt.Sprintf("check A and B at %s, the termination, %d baud and parity %s, and that the meter is unit %d", m.Address, m.Baud, m.Parity, m.Unit)
	}
	return fmt.Sprintf("check that %s answers ping, and that the meter is unit %d", m.Address, m.Unit)
}

// checkClock asks who has set the clock.
func checkClock(at session.Stamp, by string) control.Check {
	const ask = "check the network and timedatectl timesync-status; sessions start all the same, their time is told later"
	c := fine("%s, set by %s", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"), by)
	switch at.Clock {
	case session.ClockEstimated:
		c = warn(ask, "%s, carried over or from an RTC; no time server has answered since the board started", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"))
	case session.ClockUnknown:
		c = warn(ask, "not set: it says %s", at.Wall.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return named("clock", c)[0]
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
		c := fine("read from end to end, nothing is damaged")
		switch {
		case at.Err() != nil:
			c = warn("the card is slow: if it gets slower, replace it", "not read to its end within %v", databaseTimeout)
		case err != nil:
			c = failed(err, "it is put aside and made anew by itself, see docs/ledger.md; the card may be failing: replace it")
		}
		cancel()
		out = append(out, named("database "+db.name, c)...)
	}
	return out
}

// checkBroker asks how the connection is.
func checkBroker(b control.BrokerStatus) control.Check {
	c := fine("%s, connected since %s", b.URL, b.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	switch {
	case !b.Connected && b.Error == "":
		c = warn("ask again in a minute", "%s, not connected yet", b.URL)
	case !b.Connected:
		c = failed(fmt.Errorf("%s, not connected after %d attempts: %s", b.URL, b.Attempts, b.Error),
			"mend what it says; sessions start and end all the same, and are reported later")
	}
	return named("broker", c)[0]
}

// checkList asks for the age and the signature of the list in force.
func checkList(c config.Config, l control.ListStatus, now session.Stamp) control.Check {
	age := now.Wall.Sub(l.IssuedAt)
	text := fmt.Sprintf("%s version %d.%d, %d badges, signed %s", l.List, l.Epoch, l.Version, l.Count, l.IssuedAt.UTC().Format(time.DateOnly))
	check := fine("%s", text)
	switch {
	case l.Version == 0:
		check = failed(fmt.Errorf("%s: no list yet, every badge is unknown", l.List),
			"does the broker hold it? badgectl list show --list "+l.List+" --broker "+c.Broker.URL.String())
	case l.State == "incomplete":
		check = warn("does badgectl list watch run, and does the broker hold the list?", "%s; a newer one is announced and does not come whole", text)
	case now.Clock == session.ClockSynced && age > c.List.MaxAge:
		check = warn("does badgectl list watch run?", "%s, %d days ago, more than list.max_age", text, age/(24*time.Hour))
	case l.Refused > 0:
		check = warn("is list.keys the publisher's? Its list-keys.jwks belongs there", "%s; %d messages refused, the last one: %s", text, l.Refused, l.Error)
	}
	return named("list", check)[0]
}

// muchUnacknowledged is more than a busy day leaves while a backend is away.
const muchUnacknowledged = 1000

// checkLedger asks what the backend has.
func checkLedger(c config.Config, o session.Outbox) control.Check {
	missing := o.End - o.Committed
	check := fine("%d records, %d not yet acknowledged by the backend", o.End, missing)
	switch {
	case c.Broker.AckByBroker && missing == 0:
		check = fine("%d records, all taken by the broker, whose word counts here", o.End)
	case missing > muchUnacknowledged:
		check = warn("does the backend run, and does it acknowledge? docs/backend.md", "%d records, %d not acknowledged by the backend", o.End, missing)
	}
	return named("ledger", check)[0]
}

// quietFor is how long a reader of a laundry may see nobody before it is strange.
const quietFor = 7 * 24 * time.Hour

// checkTaps asks when somebody was here last.
func (g *gateway) checkTaps() control.Check {
	at := time.Duration(g.tapped.Load())
	since := uptime() - at
	c := fine("the last one %v ago", since.Round(time.Second))
	running := time.Since(g.started)
	switch {
	case at == 0 && running > quietFor:
		c = warn("tap a badge at every reader", "none since the start %d days ago", running/(24*time.Hour))
	case at == 0:
		c = fine("none since the start %v ago; tap one to see it", running.Round(time.Second))
	case since > quietFor:
		c = warn("tap a badge at every reader", "the last one %d days ago", since/(24*time.Hour))
	}
	return named("taps", c)[0]
}

// checkProvisioning asks how the configuration came here, and whether it is on trial.
func checkProvisioning(s provision.State, onTrial bool) control.Check {
	check := fine("none: the configuration was written by hand")
	switch {
	case s.Outcome.Bad():
		check = failed(errors.New(s.Text), "docs/provisioning.md says what to do; a corrected file on the boot partition is tried at the next start")
	case onTrial:
		check = warn("see that it connects: after 15 minutes it goes back to the one before, if that one can", "a new configuration is on trial")
	case s.Outcome != "":
		check = fine("%s", s.Text)
	}
	return named("provisioning", check)[0]
}

// checkKnownFaults repeats what the status says is wrong.
func checkKnownFaults(faults []string) []control.Check {
	if len(faults) == 0 {
		return named("faults", fine("none known"))
	}
	var out []control.Check
	for _, f := range faults {
		out = append(out, failed(errors.New(f), "see what it says, and: journalctl -u badged"))
	}
	return named("faults", out...)
}
