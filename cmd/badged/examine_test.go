package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/station"
)

func wantCheck(t *testing.T, got control.Check, state control.CheckState, part string) {
	t.Helper()
	if line := got.Text + "; " + got.Do; got.State != state || !strings.Contains(line, part) {
		t.Errorf("got %s %s: %s, want %s with %q", got.State, got.Name, line, state, part)
	}
}

// write makes a file in a /sys of the test's own.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBoardIsNamed(t *testing.T) {
	sys := t.TempDir()
	wantCheck(t, checkModel(sys), control.CheckWarn, "no Raspberry Pi")
	write(t, filepath.Join(sys, "firmware/devicetree/base/model"), "Raspberry Pi Zero 2 W Rev 1.0\x00")
	wantCheck(t, checkModel(sys), control.CheckOK, "Raspberry Pi Zero 2 W Rev 1.0; ")
}

func TestUndervoltageIsFound(t *testing.T) {
	sys := t.TempDir()
	wantCheck(t, checkSupply(sys), control.CheckOK, "does not tell")
	write(t, filepath.Join(sys, "class/hwmon/hwmon0/name"), "cpu_thermal\n")
	write(t, filepath.Join(sys, "class/hwmon/hwmon1/name"), "rpi_volt\n")
	alarm := filepath.Join(sys, "class/hwmon/hwmon1/in0_lcrit_alarm")
	write(t, alarm, "0\n")
	wantCheck(t, checkSupply(sys), control.CheckOK, "no undervoltage")
	write(t, alarm, "1\n")
	wantCheck(t, checkSupply(sys), control.CheckFail, "5.1 V and 3 A")
}

func TestDevicesAreLookedAt(t *testing.T) {
	there := filepath.Join(t.TempDir(), "ttyUSB0")
	write(t, there, "")
	wantCheck(t, checkDevice("serial", there, serialUsable), control.CheckOK, "may be used")
	wantCheck(t, checkDevice("serial", there+"1", serialUsable), control.CheckFail, "plugged in?")
	wantCheck(t, checkDevice("display", "/dev/i2c-77", i2cUsable), control.CheckFail, "dtparam=i2c_arm=on")
	wantCheck(t, checkDevice("reader", "/dev/spidev9.9", spiUsable), control.CheckFail, "spi")
	if os.Getuid() == 0 {
		return // root may use everything
	}
	if err := os.Chmod(there, 0); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, checkDevice("serial", there, serialUsable), control.CheckFail, "dialout")
}

func TestLinesAreLookedAt(t *testing.T) {
	c, err := config.Load("../internal/gateway/badged.toml")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		who   string
		err   error
		state control.CheckState
		part  string
	}{
		"free":       {"", nil, control.CheckOK, "all there"},
		"ours":       {"badged", nil, control.CheckOK, "none taken by others"},
		"periph's":   {"badged@812", nil, control.CheckOK, "none taken by others"},
		"somebody's": {"spi0 CS1", nil, control.CheckFail, `station[0].relay: "spi0 CS1" uses it; stop that`},
		"no GPIO":    {"", fmt.Errorf("look at line: %w", station.ErrNoChip), control.CheckFail, "ls /dev/gpiochip*"},
		"not there":  {"", errors.New("no line of that name"), control.CheckFail, "correct station[0].relay"},
	} {
		t.Run(name, func(t *testing.T) {
			got := checkLines(c, func(line string) (string, error) {
				if line != "GPIO17" {
					return "", nil
				}
				return tt.who, tt.err
			})
			if len(got) != 1 {
				t.Fatalf("got %+v, want one line", got)
			}
			wantCheck(t, got[0], tt.state, tt.part)
		})
	}
}

// What badgectl doctor asks for where no gateway runs.
func TestExamineNeedsNoGateway(t *testing.T) {
	examined := func(path string) (checks []control.Check) {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), cli{Config: path, Examine: true}, &out, &out); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &checks); err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
		return checks
	}
	find := func(checks []control.Check, name, text string) {
		t.Helper()
		for _, c := range checks {
			if c.Name == name && c.State == control.CheckFail && strings.Contains(c.Text, text) && c.Do != "" {
				return
			}
		}
		t.Errorf("got %+v, want a failure of %s with %q", checks, name, text)
	}
	checks := examined("../internal/gateway/badged.toml") // whose files are not here
	find(checks, "config", "list.keys")
	find(checks, "reader hall: device", "/dev/spidev0.0")
	if chips, _ := filepath.Glob("/dev/gpiochip*"); len(chips) == 0 {
		find(checks, "lines", "no /dev/gpiochip*")
	}
	find(checks, "authority", "ca.pem")
	find(checks, "name service", "broker.example.org")

	path := filepath.Join(t.TempDir(), "badged.toml")
	write(t, path, "[gateway]\nid = \"NO ID\"\n")
	find(examined(path), "config", "badged.toml:2: gateway.id")
	find(examined(path+".none"), "config", "no such file")
	wantCheck(t, examined(path + ".none")[0], control.CheckFail, "badged-provision.toml on its boot partition")
	write(t, path, "\n")
	wantCheck(t, examined(path)[0], control.CheckFail, path+": file: empty")
}
