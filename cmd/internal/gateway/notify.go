package gateway

import (
	"context"
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if g.alive(every) {
				daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// alive tells whether the controller, which owns the journal, has turned lately.
// A dead reader or broker is a state to show, no reason to restart.
func (g *gateway) alive(within time.Duration) bool {
	return uptime()-time.Duration(g.turned.Load()) < within
}
