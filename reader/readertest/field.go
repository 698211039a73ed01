package readertest

import (
	"slices"
	"time"

	"badged/mifare/mifaretest"
)

// picc is a card in the field. It hears what begins after since, if powered.
type picc struct {
	mifaretest.PICC
	powered bool
	since   time.Duration
	change  uint64 // counts changes of the field, so that old plans lapse
}

// Put brings p, a pointer, into the field; a card that is there already stays.
func (c *Chip) Put(p mifaretest.PICC) {
	c.At(c.clk.time(), func() {
		if c.find(p) >= 0 {
			return
		}
		card := &picc{PICC: p}
		c.air.cards = append(c.air.cards, card)
		if c.air.on {
			c.powerUp(card)
		}
	})
}

// Remove takes p out of the field, in the middle of its answer if need be.
func (c *Chip) Remove(p mifaretest.PICC) {
	c.At(c.clk.time(), func() {
		i := c.find(p)
		if i < 0 {
			return
		}
		card := c.air.cards[i]
		c.air.cards = slices.Delete(c.air.cards, i, i+1)
		card.change++
		c.powerLoss(card)
	})
}

func (c *Chip) find(p mifaretest.PICC) int {
	return slices.IndexFunc(c.air.cards, func(k *picc) bool { return k.PICC == p })
}

// fieldChanged looks whether the field is on and tells the cards: they start up
// some time after it comes and forget some time after it goes. A chip that is too
// hot switches its drivers off and says so, after a reset too.
func (c *Chip) fieldChanged() {
	if c.faulty(FaultTempErr) {
		c.regs[txControlReg] &^= bitRFOn
		c.fail(errTemp)
	}
	on := c.regs[txControlReg]&bitRFOn == bitRFOn && !c.poweredDown() && !c.inReset
	if on == c.air.on {
		return
	}
	c.air.on, c.air.since = on, c.now()
	for _, card := range c.air.cards {
		card.change++
		switch {
		case !on:
			c.plan(card, c.opts.Hold, c.powerLoss)
		case !card.powered:
			c.powerUp(card)
		}
	}
}

func (c *Chip) powerUp(card *picc) {
	c.plan(card, c.opts.StartUp, func(card *picc) {
		card.powered, card.since = true, c.now()
		card.Power(true)
	})
}

// powerLoss silences a card, in the middle of a bit if need be.
func (c *Chip) powerLoss(card *picc) {
	for i := range c.air.answers {
		if a := &c.air.answers[i]; a.from == card && !a.cut {
			a.cut, a.until = true, c.now()
		}
	}
	if card.powered {
		card.powered = false
		card.Power(false)
	}
}

// plan does f to card after d unless the field changes for it before.
func (c *Chip) plan(card *picc, d time.Duration, f func(*picc)) {
	change := card.change
	c.clk.schedule(event{at: c.now() + d, f: func() {
		if card.change == change {
			f(card)
		}
	}})
}
