package reader

import (
	"errors"
	"fmt"
)

// FaultKind says what kind of remedy a Fault needs.
type FaultKind string

// The kinds of faults.
const (
	FaultSPI    FaultKind = "SPI"    // the operating system refused a transfer
	FaultPin    FaultKind = "pin"    // the operating system refused to move RST
	FaultWiring FaultKind = "wiring" // no chip answers, or not reliably
	FaultReset  FaultKind = "reset"  // the chip forgot its configuration, or does not act
	FaultHeat   FaultKind = "heat"   // the chip switched its antenna off: too hot
	FaultChip   FaultKind = "chip"   // the self test failed
)

// Fault says that the reader does not work, as against a poll that came out
// badly.
type Fault struct {
	Kind FaultKind
	Err  error
}

func (f *Fault) Error() string {
	return fmt.Sprintf("mfrc522: %s: %v", f.Kind, f.Err)
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Hint is what a technician can do about it.
func (f *Fault) Hint() string {
	switch f.Kind {
	case FaultSPI:
		return "check that SPI is enabled (dtparam=spi=on) and that the device node may be read and written"
	case FaultPin:
		return "check that the line of RST is the right one, free, and may be used (group gpio)"
	case FaultWiring:
		return "check 3.3 V, GND, SDA (chip select), SCK, MOSI, MISO and RST, shorten the wires, or lower speed_mhz"
	case FaultHeat:
		return "let the reader cool down; keep the antenna away from metal"
	case FaultChip:
		return "replace the reader if it reads badly; some counterfeits fail and work"
	default:
		return "check the supply of the reader: 3.3 V with a capacitor of 10 to 220 µF at the module"
	}
}

// errSilence is clean silence: the frame went out, nothing at all came back.
var errSilence = errors.New("no answer")

// errNoise is everything that a poll may bring and the next one may not: the
// kind "try again". Those below wrap it.
var (
	errNoise    = errors.New("noise")
	errFraming  = fmt.Errorf("%w: parity or framing", errNoise)
	errLate     = fmt.Errorf("%w: answer not over in time", errNoise)
	errPartial  = fmt.Errorf("%w: answer of the wrong length", errNoise)
	errBCC      = fmt.Errorf("%w: BCC does not fit the UID", errNoise)
	errCRC      = fmt.Errorf("%w: CRC_A does not fit the answer", errNoise)
	errCollided = fmt.Errorf("%w: collision that cannot be resolved", errNoise)
)

// broken tells whether err is a Fault.
func broken(err error) bool {
	if err == nil || err == errSilence {
		return false // the normal cases, without the allocation of errors.As
	}
	var f *Fault
	return errors.As(err, &f)
}
