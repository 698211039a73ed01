package gateway

import (
	"context"
	"errors"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/provision"
	"badged/session"
	"badged/uplink"
)

// Times of a configuration on trial, by the clock of the boot. A restart begins
// them anew.
const (
	trialFor = 15 * time.Minute
	// askEvery is how often the broker before is asked once they are over.
	askEvery = 5 * time.Minute
)

// ErrTrialOver is what Run returns when the configuration is to be changed for the
// one before, which only root can: at the next start, see package provision.
var ErrTrialOver = errors.New("the new configuration cannot connect and the one before can: starting again to go back to it")

// trial is what the clock says to a configuration on trial.
type trial struct{ began, asked time.Duration }

// due tells whether the broker before is to be asked now.
func (t *trial) due(now time.Duration) bool {
	if now-t.began < trialFor || t.asked != 0 && now-t.asked < askEvery {
		return false
	}
	t.asked = now
	return true
}

// tryConfig watches a configuration that has replaced another until it has
// connected. If it cannot and the one before can, the gateway ends, though not while
// that would move a relay under a session.
func (g *gateway) tryConfig(ctx context.Context) error {
	on, err := provision.OpenTrial(g.cfg.File, g.cfg.State)
	if err != nil {
		g.log.Warn("trial of the configuration not known", "err", err)
	}
	if on == nil {
		return nil
	}
	g.log.Info("new configuration on trial", "before", on.Previous, "for", trialFor)
	t := trial{began: g.clock.up()}
	for ; ctx.Err() == nil; wait(ctx, keepEvery) {
		if !g.up.Offline() {
			g.log.Info("new configuration has connected")
			return g.verdict(on.Passed())
		}
		if !t.due(g.clock.up()) || !g.reaches(ctx, on.Previous) {
			continue
		}
		if err := g.verdict(on.Failed(g.up.State().Err)); err == nil {
			return ErrTrialOver
		}
	}
	return nil
}

// verdict logs one that could not be written; it is then given again.
func (g *gateway) verdict(err error) error {
	if err != nil {
		g.log.Error("verdict on the new configuration not kept", "err", err)
	}
	return err
}

// reaches tells whether the configuration in that file gets to its broker, and could
// take over now.
func (g *gateway) reaches(ctx context.Context, file string) bool {
	c, err := config.Load(file)
	if err == nil && !g.free(c) {
		err = errors.New("a session is running")
	}
	if err == nil {
		var conn *uplink.Conn
		if conn, err = uplink.Dial(ctx, brokerOf(c, g.clock.Now), uplink.Session{ClientID: c.ID}); err == nil {
			conn.Close()
		}
	}
	if err != nil {
		g.log.Warn("new configuration not connected, and the one before cannot take over", "err", err)
	}
	return err == nil
}

// free tells whether a restart with c leaves the relays of open sessions alone.
func (g *gateway) free(c config.Config) bool {
	type wiring struct {
		id, relay string
		low       bool
		kind      session.Service
	}
	same := map[wiring]bool{}
	for _, s := range c.Stations {
		same[wiring{s.ID, s.Relay, s.RelayActiveLow, s.Kind}] = true
	}
	open := map[string]bool{}
	for _, s := range g.ctl.Status() {
		open[s.ID] = s.TransactionID != ""
	}
	for _, s := range g.cfg.Stations {
		if open[s.ID] && !same[wiring{s.ID, s.Relay, s.RelayActiveLow, s.Kind}] {
			return false
		}
	}
	return true
}

// provisioned reads what became of provisioning. In the boot in which it happened,
// the panel says it too.
func (g *gateway) provisioned() {
	var err error
	if g.provision, err = provision.ReadState(g.cfg.File); err != nil {
		g.log.Warn("state of provisioning not read", "err", err)
	}
	if g.provision.Outcome == "" {
		return
	}
	g.log.Info("provisioning", "outcome", g.provision.Outcome, "text", g.provision.Text)
	if g.provision.Boot != g.clock.bootID {
		return
	}
	name := session.SignalProvisioned
	if g.provision.Outcome.Bad() {
		name = session.SignalNotProvisioned
	}
	g.panel.Show(session.Signal{Name: name})
}

// brokerOf is the broker of a configuration, by a clock for certificates.
func brokerOf(c config.Config, now func() time.Time) uplink.Broker {
	b := c.Broker
	out := uplink.Broker{
		URL: b.URL.String(), CA: b.CA, Cert: b.Cert, Key: b.Key, User: b.User, PasswordFile: b.PasswordFile, Time: now,
	}
	if out.User == "" {
		out.User = c.ID
	}
	return out
}
