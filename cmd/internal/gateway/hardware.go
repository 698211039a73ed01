package gateway

import (
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/spi"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/station"
)

// Hardware is what a gateway is wired to: the board's own in badged, the
// world's in badgesim. Its errors say what is missing and what to try next.
type Hardware interface {
	// Chip opens the wires to one reader.
	Chip(r config.Reader) (Chip, error)
	// Output takes a line and drives it in the same request, so that it never
	// shows another level in between. A line that a daemon before this one held
	// may come as it stands; Set then moves it or not.
	Output(w Wire, on bool) (station.Output, error)
	// Input takes a line to listen to, pulled up where the board can: a contact
	// to ground is active.
	Input(line string) (station.Input, error)
	// Display opens an I²C bus.
	Display(bus string) (i2c.BusCloser, error)
	// Examine says what board this is, and how the devices and lines are that c names.
	Examine(c config.Config) []control.Check
}

// Timed is Hardware that brings a clock along; with other hardware the kernel's counts.
type Timed interface {
	// Clock is the board's clock; ok is false where it is the kernel's after all.
	Clock() (c BoardClock, ok bool)
}

// BoardClock is what a board knows of the time. Its functions may be called from
// any goroutine.
type BoardClock struct {
	BootID string               // random for each boot
	Up     func() time.Duration // since that boot; it never steps
	Wall   func() time.Time
	Source func() string // who has set Wall in this boot, "" for nobody yet
}

// Chip is the wires to an MFRC522.
type Chip struct {
	Port  spi.PortCloser
	Reset gpio.PinOut // nil where it is not wired
	IRQ   gpio.PinIn  // nil where it is not wired
}

// Wire is an output and what hangs on it.
type Wire struct {
	Line      string
	ActiveLow bool
	Station   string // whose relay it is; "" for a light or the buzzer
}
