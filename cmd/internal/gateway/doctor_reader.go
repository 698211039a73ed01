package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/reader"
)

func (g *gateway) examineReaders(ctx context.Context, e control.Examination) ([]control.Check, error) {
	var out []control.Check
	var known []string
	for _, r := range g.readers {
		known = append(known, r.cfg.Name)
		if e.Reader == "" || e.Reader == r.cfg.Name {
			out = append(out, r.examine(ctx, e.GainSweep)...)
		}
	}
	if out == nil {
		return nil, fmt.Errorf("no reader %q at this gateway; there is %s", e.Reader, strings.Join(known, ", "))
	}
	return out, nil
}

// examine has the checks of one reader. It disturbs the reader for some tens of
// milliseconds, or with sweep for some seconds.
func (r *badgeReader) examine(ctx context.Context, sweep bool) (out []control.Check) {
	r.mu.Lock()
	dev, err := r.dev, r.err
	r.mu.Unlock()
	add := func(what string, c control.Check) { out = append(out, c.Named("reader "+r.cfg.Name+": "+what)) }
	switch {
	case err != nil:
		add("wires", control.Failed(err, "see the hint; wiring is in the README"))
		return out
	case dev == nil:
		add("wires", control.Warn("ask again in a second", "not opened yet"))
		return out
	case sweep:
		for _, c := range sweepGain(ctx, dev, r.cfg.GainDB) {
			add("gain", c)
		}
		return out
	}
	p := patient{dev, r.cfg, dev.SelfTest()}
	for _, c := range []struct {
		what  string
		check func(patient) control.Check
	}{
		{"chip", checkChip}, {"self test", checkSelfTest}, {"bus", checkBus}, {"antenna", checkAntenna},
		{"card", checkCards}, {"faults", checkFaults},
	} {
		add(c.what, c.check(p))
	}
	return out
}

// patient is a reader under examination.
type patient struct {
	*reader.Dev
	cfg  config.Reader
	test error // what its self test said
}

// checkChip asks whether a chip answers, and which.
func checkChip(p patient) control.Check {
	h := p.Health()
	switch {
	case h.Version == 0:
		return control.Failed(cmp.Or(p.test, h.Err, errUnseen), "check the wiring of the reader")
	case !h.Genuine:
		return control.Warn("nothing, if it reads well: many clones do; else replace the reader", "%s, version 0x%02X", h.Chip, h.Version)
	}
	return control.Fine("%s, version 0x%02X", h.Chip, h.Version)
}

// errUnseen is what is wrong with a chip of which nothing is known yet.
var errUnseen = errors.New("no chip was seen yet")

// checkSelfTest judges the chip's digital self test.
func checkSelfTest(p patient) control.Check {
	var f *reader.Fault
	switch {
	case p.test == nil:
		return control.Fine("passed")
	case errors.Is(p.test, reader.ErrNoReference):
		return control.Warn("nothing, if it reads well", "%v", p.test)
	case errors.As(p.test, &f) && f.Kind == reader.FaultChip:
		return control.Warn(f.Hint(), "%v", p.test)
	}
	return control.Failed(p.test, "check the wiring of the reader")
}

// checkBus asks how the wires carry bursts, and at which clock.
func checkBus(p patient) control.Check {
	h := p.Health()
	mhz := healthOf(h).SpeedMHz
	var f *reader.Fault
	switch {
	case errors.As(p.test, &f) && f.Kind != reader.FaultChip:
		return control.Failed(p.test, "")
	case h.SplitReads:
		return control.Warn("mux chip select as a GPIO (dtoverlay=spi0-1cs,cs0_pin=8): native chip select breaks bursts on early Pi 5 kernels",
			"bursts break at %g MHz; every byte is read by itself, which works and is slow", mhz)
	case mhz < p.cfg.SpeedMHz-0.01:
		return control.Warn(fmt.Sprintf("shorten the wires, or set reader.speed_mhz = %g", mhz), "bursts are right at %g MHz, not at the %g of the config", mhz, p.cfg.SpeedMHz)
	}
	return control.Fine("bursts are right at %g MHz", mhz)
}

// checkAntenna asks whether the field is on, and how clean it is.
func checkAntenna(p patient) control.Check {
	h := p.Health()
	share := 100 * float64(h.Noise) / float64(max(h.Polls, 1))
	switch {
	case h.State != reader.StateReady:
		return control.Failed(cmp.Or(h.Err, errUnseen), "check the wiring of the reader")
	case h.Polls > 250 && share > 5:
		return control.Warn("keep the antenna 10 mm from metal, away from power supplies and cables; try --gain-sweep",
			"field on, %.1f %% of polls meet noise", share)
	}
	return control.Fine("field on, gain %d dB, %.1f %% of polls meet noise", h.GainDB, share)
}

// checkCards asks who is in the field.
func checkCards(p patient) control.Check {
	cards, err := p.Scan()
	var f *reader.Fault
	switch {
	case errors.As(err, &f):
		return control.Failed(err, "")
	case err != nil && len(cards) == 0:
		return control.Warn("try another card; if none can be read, try --gain-sweep", "somebody answers and cannot be read: %v", err)
	case len(cards) == 0:
		return control.Fine("nobody in the field; lay a card on the reader to see it read")
	}
	var uids []string
	for _, c := range cards {
		uids = append(uids, masked(c.UID))
	}
	return control.Fine("%d in the field: %s", len(cards), strings.Join(uids, ", "))
}

// checkFaults looks back at what had to be repaired.
func checkFaults(p patient) control.Check {
	h := p.Health()
	if h.Faults == 0 {
		return control.Fine("none in %d polls", h.Polls)
	}
	var by []string
	for _, step := range slices.Sorted(maps.Keys(h.Recoveries)) {
		by = append(by, fmt.Sprintf("%s (%d)", step, h.Recoveries[step]))
	}
	last := fmt.Sprintf("%d in %d polls, repaired by %s", h.Faults, h.Polls, strings.Join(by, ", "))
	var f *reader.Fault
	if errors.As(h.Err, &f) {
		return control.Warn(f.Hint(), "%s; the last one %s ago: %v", last, h.ErrAge.Round(1e9), f)
	}
	return control.Fine("%s", last)
}

// sweepTries is how often the field is read at each gain: about half a second.
const sweepTries = 20

// sweepGain reads the card on the reader at every gain.
func sweepGain(ctx context.Context, dev *reader.Dev, now int) []control.Check {
	rates, err := dev.SweepGain(ctx, sweepTries)
	if err != nil {
		return []control.Check{control.Failed(err, "mend the reader first: badgectl doctor")}
	}
	best := bestGain(rates)
	if best < 0 {
		return []control.Check{control.Warn("lay a card on the reader and ask again", "no card was read at any gain")}
	}
	var out []control.Check
	for _, g := range rates {
		text := fmt.Sprintf("%d dB: read %d of %d times", g.DB, g.Read, g.Tries)
		switch {
		case g.DB != now:
			out = append(out, control.Fine("%s", text))
		case g.Read < rates[best].Read:
			out = append(out, control.Warn(fmt.Sprintf("set reader.gain_db = %d", rates[best].DB), "%s, in force", text))
		default:
			out = append(out, control.Fine("%s, in force", text))
		}
	}
	return out
}

// bestGain is the lowest of those that read best, or -1: what is more than needed
// saturates with a card on the coil.
func bestGain(rates []reader.GainRate) int {
	best := -1
	for i, g := range rates {
		if g.Read > 0 && (best < 0 || g.Read > rates[best].Read) {
			best = i
		}
	}
	return best
}
