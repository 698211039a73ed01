package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/gateway"
	"badged/station"
)

// noteRelays leaves a list of the relays in the folder that systemd gives the
// daemon for its run, for a relaysOff that has no config to go by. Without systemd
// it does nothing.
func noteRelays(c config.Config) error {
	path := relaysNote()
	if path == "" {
		return nil
	}
	b, err := json.Marshal(relays(c))
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note relays: %w", err)
	}
	return nil
}

// relaysNote is where the list is; "" without systemd (RuntimeDirectory=).
func relaysNote() string {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "relays.json")
}

func noted() (wires []gateway.Wire, err error) {
	b, err := os.ReadFile(relaysNote())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // also without systemd
			err = nil
		}
		return nil, err
	}
	return wires, json.Unmarshal(b, &wires)
}

func relays(c config.Config) (wires []gateway.Wire) {
	for _, s := range c.Stations {
		wires = append(wires, gateway.Wire{Line: s.Relay, ActiveLow: s.RelayActiveLow, Station: s.ID})
	}
	return wires
}

// relaysOff opens relays when no daemon is there to do it: those of the config and
// those that the last daemon noted. With orphaned it does so only if the config
// cannot be used: then no daemon comes back, and what is on would stay on. With a
// usable config a stopped daemon has switched off what no session needs, and the
// next one, or nobody, goes on with the sessions; so it does where the disk fails to
// give the config, which systemd tries again.
func relaysOff(path string, orphaned bool) error {
	load := config.Load
	if orphaned {
		load = gateway.Load
	}
	c, err := load(path)
	if orphaned && gateway.ExitCode(err) != gateway.ExitConfig {
		return nil
	}
	wires, noteErr := noted()
	errs := []error{noteErr}
	if !orphaned { // else it is why this runs, and the daemon has said it
		errs = append(errs, err)
	}
	chips := station.NewChips()
	for _, w := range append(relays(c), wires...) {
		errs = append(errs, relayOff(chips, w))
	}
	return errors.Join(errs...)
}

// handover is how long systemd may take to let a descriptor go.
const handover = 3 * time.Second

// relayOff takes a line away from systemd's descriptor store and drives it.
func relayOff(chips *station.Chips, w gateway.Wire) error {
	if err := station.Forget(station.FDName(w.Station, w.Line, w.ActiveLow)); err != nil {
		return err
	}
	for end := time.Now().Add(handover); ; time.Sleep(20 * time.Millisecond) {
		line, err := chips.Output(w.Line, station.OutputOpts{ActiveLow: w.ActiveLow})
		if err == nil {
			return line.Close()
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("relay of %s: %w", w.Station, err)
		}
	}
}
