package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd that the gateway is ready, that it lives, and that it
// stops. Without systemd it does nothing.
func (g *gateway) notify(ctx context.Context) error {
	daemon.SdNotify(false, daemon.SdNotifyReady)
	defer daemon.SdNotify(false, daemon.SdNotifyStopping)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			hung := g.hung(every)
			if hung == "" {
				daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			} else if hung != said {
				g.log.Error("loop hangs: systemd will restart the gateway", "loop", hung)
			}
			said = hung
		}
	}
}

const (
	// commitTimeout is how long the disk may take for one commit, worn cards and
	// retries of the driver included, before the gateway is held for hung.
	commitTimeout = time.Minute
	// uplinkTimeout is more than what a broker that answers late can make the uplink
	// wait for: see uplink.Client.Busy.
	uplinkTimeout = 15 * time.Minute
)

// hung names a loop that has not turned lately, or "": the controller, its journal
// stuck in one commit, a reader's, the uplink's. A new process may find disk or
// bus well again, and relays stand still meanwhile. A dead reader or broker, or a
// disk that says no, is a state to show, no reason to restart: their loops turn.
func (g *gateway) hung(within time.Duration) string {
	late := func(turned *atomic.Int64) bool { return uptime()-time.Duration(turned.Load()) >= within }
	if late(&g.turned) {
		return "controller"
	}
	if g.ctl.Writing() >= commitTimeout {
		return "journal"
	}
	for _, r := range g.readers {
		if late(&r.turned) {
			return "reader " + r.cfg.Name
		}
	}
	if what, d := g.up.Busy(); d >= uplinkTimeout {
		return "uplink: " + what
	}
	return ""
}
