package reader

import (
	"context"
	"errors"
	"maps"
	"slices"

	"badged/mifare"
)

// GainRate says how well cards are read at a gain.
type GainRate struct {
	DB    int `json:"db"`
	Tries int `json:"tries"`
	Read  int `json:"read"`  // tries that read a card, and met nothing damaged
	Cards int `json:"cards"` // most cards that one try read
}

// SweepGain scans the field tries times at every gain, the lowest first, and sets
// the gain that was in force again. A try takes 20 to 30 ms. Run waits meanwhile,
// so that a card which a gain cannot read does not count as removed.
func (d *Dev) SweepGain(ctx context.Context, tries int) (rates []GainRate, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	before := d.opts.GainDB
	defer func() { err = errors.Join(err, d.setGain(before)) }()
	for _, dB := range gainSteps() {
		if err := d.setGain(dB); err != nil {
			return rates, err
		}
		d.publish()
		rate := GainRate{DB: dB}
		for range tries {
			if ctx.Err() != nil {
				return rates, ctx.Err()
			}
			cards, err := d.scan()
			if broken(err) {
				return rates, err
			}
			rate.count(cards, err)
		}
		rates = append(rates, rate)
	}
	return rates, nil
}

func (g *GainRate) count(cards []mifare.Card, err error) {
	g.Tries++
	g.Cards = max(g.Cards, len(cards))
	if len(cards) > 0 && err == nil {
		g.Read++
	}
}

// gainSteps are the gains of the chip in dB, the lowest first.
func gainSteps() []int { return slices.Sorted(maps.Keys(gains)) }
