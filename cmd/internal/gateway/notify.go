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

// commitTimeout is how long the disk may take for one commit, worn cards and
// retries of the driver included, before the gateway is held for hung.
const commitTimeout = time.Minute

// alive tells whether the controller has turned lately and its journal is not
// stuck in one commit: a new process may find the disk well again, and relays
// stand still meanwhile. A dead reader or broker, or a disk that says no, is a
// state to show, no reason to restart.
func (g *gateway) alive(within time.Duration) bool {
	return uptime()-time.Duration(g.turned.Load()) < within && g.ctl.Writing() < commitTimeout
}
