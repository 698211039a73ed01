package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"badged/cmd/internal/config"
	"badged/station"
)

// relay takes its line with the first value that the session machine gives it,
// so that a restart requests the line as the journal says and never moves it.
type relay struct {
	wire Wire
	hw   Hardware

	mu  sync.Mutex
	out station.Output
}

// Set closes or opens the contact; see session.Power.
func (r *relay) Set(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil {
		err := r.out.Set(on)
		if err == nil {
			return nil
		}
		// A line that fails is given back and taken anew: it may have gone with its chip.
		r.out.Close()
		r.out = nil
	}
	out, err := r.hw.Output(r.wire, on)
	if err != nil {
		return fmt.Errorf("relay of %s: %w", r.wire.Station, err)
	}
	r.out = out
	return out.Set(on) // a line that was kept over the restart stands as it stood
}

// retryInput is how long a line or meter that failed is left alone.
const retryInput = 5 * time.Second

// runInput follows a contact: f hears its level at first and after every change, once
// the contact has come to rest.
func (g *gateway) runInput(ctx context.Context, line string, f func(active bool)) error {
	said := ""
	for ctx.Err() == nil {
		err := g.followInput(ctx, line, f)
		if ctx.Err() == nil && err != nil && err.Error() != said {
			said = err.Error()
			g.log.Warn("input failed", "line", line, "err", err)
		}
		wait(ctx, retryInput)
	}
	return nil
}

// atRest is how long a contact has stood still when it counts: longer than one
// bounces, or a pull-up takes to lift a filtered line; shorter than a press.
const atRest = 30 * time.Millisecond

func (g *gateway) followInput(ctx context.Context, line string, f func(bool)) error {
	in, err := g.hw.Input(line)
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, stop := context.WithCancel(ctx)
	moved, failed := make(chan struct{}), make(chan error, 1)
	defer func() { stop(); <-failed }()
	go func() {
		defer close(failed)
		failed <- in.Edges(ctx, func(station.Edge) {
			select {
			case moved <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	rest := time.NewTimer(atRest)
	defer rest.Stop()
	for heard, active := false, false; ; {
		select {
		case <-moved:
			rest.Reset(atRest)
		case <-rest.C:
			now, err := in.Active()
			if err != nil {
				return err
			}
			if !heard || now != active {
				heard, active = true, now
				f(active)
			}
		case err := <-failed:
			return err
		}
	}
}

// openPanel takes the lines of lights and buzzer, and the display's bus. A panel without one of its
// parts still shows the rest.
func openPanel(hw Hardware, c config.Config, log *slog.Logger) *station.Panel {
	open := func(line string) station.Output {
		if line == "" {
			return nil
		}
		out, err := hw.Output(Wire{Line: line}, false)
		if err != nil {
			log.Warn("panel incomplete", "line", line, "err", err)
			return nil
		}
		return out
	}
	o := station.PanelOpts{Language: c.Language, Fault: func(err error) {
		if err != nil {
			log.Warn("panel failed", "err", err)
		}
	}}
	o.Green, o.Red, o.Buzzer = open(c.Panel.Green), open(c.Panel.Red), open(c.Panel.Buzzer)
	if c.Panel.Display != "" {
		bus, err := hw.Display(c.Panel.Display)
		if err != nil {
			log.Warn("panel incomplete", "display", c.Panel.Display, "err", err)
			return station.NewPanel(o)
		}
		o.Screen = station.NewSSD1306(bus)
	}
	return station.NewPanel(o)
}

// wait sleeps until d is over or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
