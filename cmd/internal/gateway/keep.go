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
	prune, check := g.clock.up()+checkAfter, g.clock.up()+checkAfter
	for {
		g.keepTime(ctx, g.keeper)
		g.panel.Show(session.Signal{Name: g.mood()})
		if _, err := g.list.Tidy(ctx); err != nil && ctx.Err() == nil && g.list.Damaged() == nil {
			g.log.Warn("list not tidied", "err", err)
		}
		g.mendList()
		g.noteLedger()
		if now := g.clock.up(); now >= prune {
			prune = now + pruneEvery
			g.prune(ctx)
			g.saveAge(ctx)
		}
		if now := g.clock.up(); now >= check {
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
// is not. At most a thousand go in an hour, far more than are made, so that a wrong
// answer about the time does little harm before the right one comes.
func (g *gateway) prune(ctx context.Context) {
	at := g.clock.Stamp()
	if at.Clock != session.ClockSynced {
		return
	}
	if _, err := g.ledger.Prune(ctx, at.Wall, g.cfg.Retention); err != nil {
		g.log.Warn("ledger not pruned", "err", err)
	}
}

// checkStorage reads both databases once. What is damaged is replaced.
func (g *gateway) checkStorage(ctx context.Context) {
	g.readList(ctx)
	err := g.ledger.Check(ctx)
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error() + ": it cannot be read or replaced; the card may be failing"
		g.log.Error("database not checked", "which", "ledger", "err", err)
	}
	g.faults.set("ledger file", text)
}

// noteLedger says that a damaged ledger was replaced, at the start or since: the
// cache does that by itself, since no commit may wait for anybody.
func (g *gateway) noteLedger() {
	word := g.ledger.Recovered()
	if word == g.ledgers {
		return
	}
	g.ledgers = word
	g.log.Error("database replaced", "which", "ledger", "why", word)
	g.faults.set("ledger replaced", word+"; the card may be failing")
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
