package reader_test

import (
	"time"

	"periph.io/x/conn/v3/gpio"
)

// promptIRQ is an IRQ pin that has just had its edge, so that the peer's own wait
// for a card costs nothing in the comparison.
type promptIRQ struct{ gpio.PinIn }

func (promptIRQ) In(gpio.Pull, gpio.Edge) error        { return nil }
func (promptIRQ) WaitForEdge(limit time.Duration) bool { return limit > 0 }
