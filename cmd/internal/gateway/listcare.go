package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"badged/cache"
	"badged/session"
)

// headLead is how far a publisher's clock may be ahead of ours without a word.
const headLead = time.Hour

// staleList warns of a list that is older than it may be: by the clock where it
// is set, else by how long this gateway has run without a newer head. A head from
// the future tells nothing of its age.
func (g *gateway) staleList(v session.ListVersion, now session.Stamp) (words []string) {
	age := now.Up - time.Duration(g.headAt.Load())
	if now.Clock == session.ClockSynced {
		switch lead := v.IssuedAt.Sub(now.Wall); {
		case lead > headLead:
			words = append(words, fmt.Sprintf("list: its head was signed %v in the future: set the publisher's clock and let badgectl list watch sign it again", lead.Round(time.Minute)))
		default:
			age = max(0, -lead)
		}
	}
	if age > g.cfg.List.MaxAge {
		words = append(words, fmt.Sprintf("list: the newest head is %v old, more than list.max_age: does badgectl list watch run, and does the broker hold the list?", age.Round(time.Minute)))
	}
	return words
}

// loadAge goes on counting the list's age where an earlier run left it.
func (g *gateway) loadAge() {
	ran, err := g.list.Ran(context.Background())
	if err != nil {
		g.log.Warn("age of the list not read", "err", err)
	}
	g.headAt.Store(int64(g.clock.up() - ran))
}

// saveAge is for a board that never learns the time: only its own running tells it
// that the list is old.
func (g *gateway) saveAge(ctx context.Context) {
	if err := g.list.SetRan(ctx, g.clock.up()-time.Duration(g.headAt.Load())); err != nil {
		g.log.Warn("age of the list not kept", "err", err)
	}
}

// mendList replaces a list that was found damaged, without a restart, once there
// is a head to fetch it by again. Until then what can be read of it still answers.
// The ledger has a file of its own and is not touched.
func (g *gateway) mendList() {
	why := g.list.Damaged()
	if why == nil {
		return
	}
	if up := g.up.State(); !up.Connected || up.List.Version == 0 {
		g.faults.set("list file", fmt.Sprintf("damaged (%v): badges that can still be read work, all others are refused until the broker is reachable and the list comes again; the card may be failing", why))
		return
	}
	aside, err := g.list.Rebuild()
	if err != nil {
		g.faults.set("list file", fmt.Sprintf("damaged (%v) and not replaced: %v", why, err))
	}
	if aside == "" {
		return
	}
	g.log.Error("database replaced", "which", "list", "why", why, "kept", aside, "err", err)
	g.faults.set("list replaced", fmt.Sprintf("it was damaged (%v): kept as %s, fetched again; the card may be failing", why, aside))
	if err == nil {
		g.faults.set("list file", "fetched again after damage: until it is here, badges that cannot be read are refused")
	}
	g.up.ListLost()
}

// readList reads the whole list once; mendList does the rest.
func (g *gateway) readList(ctx context.Context) {
	err := g.list.Check(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, cache.ErrDamaged):
		g.log.Error("database damaged", "which", "list", "err", err)
	default:
		g.log.Warn("list not checked", "err", err)
	}
}
