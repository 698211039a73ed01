package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
	"badged/station"
)

// Examine looks at the board itself: model and supply, and every device and line
// that the config names. It takes none of them.
func (b *board) Examine(c config.Config) []control.Check {
	out := []control.Check{checkModel("/sys"), checkSupply("/sys")}
	for _, r := range c.Readers {
		out = append(out, checkDevice("reader "+r.Name+": device", r.SPI, spiUsable))
	}
	for _, s := range c.Stations {
		if s.Meter.Type == "modbus-rtu" {
			out = append(out, checkDevice("station "+s.ID+": serial line", s.Meter.Address, serialUsable))
		}
	}
	if c.Panel.Display != "" {
		out = append(out, checkDevice("panel: display bus", c.Panel.Display, i2cUsable))
	}
	return append(out, checkLines(c, b.chips.Owner)...)
}

// checkModel names the board by its device tree.
func checkModel(sys string) control.Check {
	b, err := os.ReadFile(filepath.Join(sys, "firmware/devicetree/base/model"))
	if err != nil {
		return control.Warn("nothing, if reader and relays work", "no device tree: this is no Raspberry Pi or the like").Named("board")
	}
	return control.Fine("%s", strings.TrimRight(string(b), "\x00\n")).Named("board")
}

// checkSupply asks the firmware of a Raspberry Pi whether the voltage has been too
// low since the start (Linux Documentation/hwmon/raspberrypi-hwmon.rst): cards and
// readers fail then, and nothing else tells why.
func checkSupply(sys string) control.Check {
	check := control.Fine("this board does not tell")
	names, _ := filepath.Glob(filepath.Join(sys, "class/hwmon/*/name")) // the pattern is well formed
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(b)) != "rpi_volt" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(filepath.Dir(name), "in0_lcrit_alarm"))
		if err != nil {
			continue
		}
		check = control.Fine("no undervoltage since the start")
		if strings.TrimSpace(string(b)) == "1" {
			check = control.Failed(errors.New("undervoltage: the 5 V fall below 4.63 V"), "a supply of 5.1 V and 3 A for this board alone, and a short cable")
		}
	}
	return check.Named("power supply")
}

// checkDevice asks whether a device is there and may be used.
func checkDevice(name, dev string, usable func(string) error) control.Check {
	if err := usable(dev); err != nil {
		return control.Failed(err, "look at dmesg").Named(name)
	}
	return control.Fine("%s is there and may be used", dev).Named(name)
}

func i2cUsable(dev string) error {
	return deviceUsable(dev, "on a Raspberry Pi put dtparam=i2c_arm=on into config.txt and restart it", "i2c")
}

func serialUsable(dev string) error {
	return deviceUsable(dev, "is the adapter plugged in? ls /dev/ttyUSB* /dev/ttyACM* /dev/serial/by-id", "dialout")
}

// deviceUsable looks without opening: to open a serial line moves its handshake.
func deviceUsable(dev, missing, group string) error {
	switch err := unix.Access(dev, unix.R_OK|unix.W_OK); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w\nhint: %s", dev, err, missing)
	default:
		return fmt.Errorf("%s: %w\nhint: the user that runs badged needs the group that owns it, usually %s: ls -l %s", dev, err, group, dev)
	}
}

// checkLines asks for every line of the config whether the board has it and who
// uses it: badged itself while it runs.
func checkLines(c config.Config, owner func(string) (string, error)) (out []control.Check) {
	lines := c.Lines()
	for _, l := range lines {
		who, err := owner(l.Line)
		var check control.Check
		switch {
		case errors.Is(err, station.ErrNoChip): // then each would say the same
			return []control.Check{control.Failed(station.ErrNoChip, "is this the board? ls /dev/gpiochip*; on a Raspberry Pi they are always there").Named("lines")}
		case err != nil:
			check = control.Failed(fmt.Errorf("%s: %w", l.Key, err), "correct "+l.Key+", or give this user the group of /dev/gpiochip*")
		case who != "" && !strings.HasPrefix(who, "badged"):
			check = control.Failed(fmt.Errorf("%s: %q uses it", l.Key, who), "stop that, or wire another line and name it in "+l.Key)
		default:
			continue
		}
		out = append(out, check.Named("line "+l.Line))
	}
	if out == nil {
		out = append(out, control.Fine("%d named in the config, all there, none taken by others", len(lines)).Named("lines"))
	}
	return out
}

// examine is the doctor's part that needs no running gateway. It takes no line and
// adopts none: a daemon beside it goes on.
func examine(ctx context.Context, path string, out io.Writer) error {
	cfg, err := config.Load(path)
	var checks []control.Check
	if err != nil {
		checks = append(gateway.ConfigChecks(err), checkModel("/sys"), checkSupply("/sys"))
	} else {
		checks = gateway.Examine(ctx, cfg, &board{chips: station.NewChips()}, time.Now())
	}
	return json.NewEncoder(out).Encode(checks)
}
