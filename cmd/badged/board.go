package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/conn/v3/i2c"
	_ "periph.io/x/host/v3/gpioioctl" // pins by line name, through the kernel
	"periph.io/x/host/v3/sysfs"

	"badged/cmd/internal/config"
	"badged/cmd/internal/gateway"
	"badged/station"
)

// board is the hardware of a Linux board. Relays, lights and inputs are lines of
// the kernel, requested with their value; only the reader's reset and interrupt
// pins go through periph, whose Out first drives a line low.
type board struct {
	chips *station.Chips
	pins  func() error // registers periph's pins, once

	mu   sync.Mutex
	kept map[string]*station.Line // by name in systemd's descriptor store
}

var _ gateway.Hardware = (*board)(nil)

// openBoard takes over what the daemon before this one left with systemd.
func openBoard(c config.Config, log *slog.Logger) (*board, error) {
	var names []string
	for _, s := range c.Stations {
		names = append(names, station.FDName(s.ID, s.Relay, s.RelayActiveLow))
	}
	kept, err := station.Adopt(names)
	if err != nil {
		log.Warn("lines of stations that are no more", "err", err)
	}
	b := &board{chips: station.NewChips(), kept: kept}
	b.pins = sync.OnceValue(func() error {
		_, err := driverreg.Init()
		return err
	})
	return b, nil
}

// switchOff opens the relays that the daemon before this one left on: systemd does
// not try again with a config that is wrong, and nobody would open them later.
func switchOff() error {
	_, err := station.Adopt(nil)
	return err
}

// Chip opens the SPI device and the pins of a reader.
func (b *board) Chip(r config.Reader) (gateway.Chip, error) {
	if err := spiUsable(r.SPI); err != nil {
		return gateway.Chip{}, err
	}
	var bus, cs int
	if _, err := fmt.Sscanf(filepath.Base(r.SPI), "spidev%d.%d", &bus, &cs); err != nil {
		return gateway.Chip{}, fmt.Errorf("SPI device %s: want a name such as /dev/spidev0.0", r.SPI)
	}
	var c gateway.Chip
	var err error
	if c.Reset, err = b.resetPin(r.Reset); err != nil {
		return c, err
	}
	if c.IRQ, err = b.irqPin(r.IRQ); err != nil {
		return c, err
	}
	if c.Port, err = sysfs.NewSPI(bus, cs); err != nil {
		return c, fmt.Errorf("open %s: %w", r.SPI, err)
	}
	return c, nil
}

// spiUsable says in words why an SPI device cannot be used: periph's errors
// cannot be told apart.
func spiUsable(dev string) error {
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		there, _ := filepath.Glob("/dev/spidev*")
		if len(there) == 0 {
			return fmt.Errorf("%w: no SPI device on this board\nhint: on a Raspberry Pi put dtparam=spi=on into config.txt and restart it", err)
		}
		return fmt.Errorf("%w: there is %s\nhint: correct reader.spi", err, strings.Join(there, ", "))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nhint: the user that runs this needs the group that owns %s, usually spi", err, dev)
	}
	return fmt.Errorf("SPI device busy or broken: %w", err)
}

func (b *board) resetPin(name string) (gpio.PinOut, error) {
	if name == "" {
		return nil, nil
	}
	return b.pin(name)
}

func (b *board) irqPin(name string) (gpio.PinIn, error) {
	if name == "" {
		return nil, nil
	}
	return b.pin(name)
}

func (b *board) pin(name string) (gpio.PinIO, error) {
	if err := b.pins(); err != nil {
		return nil, fmt.Errorf("GPIO of this board: %w", err)
	}
	p := gpioreg.ByName(name)
	if p == nil {
		return nil, fmt.Errorf("no GPIO line %s on this board, or no right to it\nhint: gpioinfo lists lines; the user that runs this needs the group that owns /dev/gpiochip*, usually gpio", name)
	}
	return p, nil
}

// Output takes a line, from the daemon before this one if it had it. A relay's
// line is left with systemd, so that it stands still while the daemon restarts.
func (b *board) Output(w gateway.Wire, on bool) (station.Output, error) {
	name := station.FDName(w.Station, w.Line, w.ActiveLow)
	b.mu.Lock()
	kept, ok := b.kept[name]
	delete(b.kept, name)
	b.mu.Unlock()
	if ok {
		return kept, nil
	}
	if w.Station != "" {
		// A line that is taken anew has failed before: its old descriptor keeps the line
		// busy, and would be adopted in place of the new one.
		if err := station.Forget(name); err != nil {
			return nil, err
		}
	}
	line, err := b.chips.Output(w.Line, station.OutputOpts{ActiveLow: w.ActiveLow, On: on})
	if err != nil || w.Station == "" {
		return line, err
	}
	if _, err := station.Keep(name, line); err != nil {
		return nil, errors.Join(err, line.Close())
	}
	return line, nil
}

// Input takes a line with a contact to ground on it.
func (b *board) Input(line string) (station.Input, error) {
	return b.chips.Input(line, station.InputOpts{ActiveLow: true, PullUp: true})
}

// Display opens an I²C bus such as /dev/i2c-1.
func (b *board) Display(dev string) (i2c.BusCloser, error) {
	var n int
	if _, err := fmt.Sscanf(filepath.Base(dev), "i2c-%d", &n); err != nil {
		return nil, fmt.Errorf("display %s: want a name such as /dev/i2c-1", dev)
	}
	bus, err := sysfs.NewI2C(n)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w\nhint: on a Raspberry Pi put dtparam=i2c_arm=on into config.txt; the user needs the group i2c", dev, err)
	}
	return bus, nil
}
