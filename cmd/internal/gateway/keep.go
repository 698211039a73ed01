package gateway

import (
	"context"
	"time"

	"badged/session"
)

// Times of what can wait.
const (
	keepEvery  = time.Second
	pruneEvery = time.Hour
	// checkAfter leaves the start to the residents.
	checkAfter = time.Minute
	checkEvery = 24 * time.Hour
)

// housekeep does what can wait: it ties the boot to the wall clock, tidies the
// list in slices, forgets records that the backend has had for long, reads the
// databases for damage, and tells the panel how the gateway is.
func (g *gateway) housekeep(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	keeper := g.newTimekeeper()
	prune, check := uptime()+checkAfter, uptime()+checkAfter
	for {
		g.keepTime(ctx, keeper)
		g.panel.Show(session.Signal{Name: g.mood()})
		if _, err := g.list.Tidy(ctx); err != nil && ctx.Err() == nil && g.list.Damaged() == nil {
			g.log.Warn("list not tidied", "err", err)
		}
		g.mendList()
		if now := uptime(); now >= prune {
			prune = now + pruneEvery
			g.prune(ctx)
			g.saveAge(ctx)
		}
		if now := uptime(); now >= check {
			check = now + checkEvery
			g.checkStorage(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prune forgets old records where the time is known: what is not known to be old
// is not.
func (g *gateway) prune(ctx context.Context) {
	at := g.clock.Stamp()
	if at.Clock != session.ClockSynced {
		return
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = g.ledger.Prune(ctx, at.Wall, g.cfg.Retention); err != nil {
			g.log.Warn("ledger not pruned", "err", err)
			return
		}
	}
}

// checkStorage reads both databases once. A damaged list is replaced at once; a
// damaged ledger goes on as long as it can: what it holds is saved into a new one
// at the next start.
func (g *gateway) checkStorage(ctx context.Context) {
	g.readList(ctx)
	err := g.ledger.Check(ctx)
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error() + ": restart badged when no session is running, it then repairs what it can; the card may be failing"
		g.log.Error("database damaged", "which", "ledger", "err", err)
	}
	g.faults.set("ledger file", text)
}

// mood is what the panel shows between signals.
func (g *gateway) mood() session.SignalName {
	if len(g.faults.all()) > 0 {
		return session.SignalFault
	}
	if g.up.Offline() {
		return session.SignalOffline
	}
	return session.SignalReady
}
