package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"periph.io/x/conn/v3/i2c"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
	"badged/reader/readertest"
	"badged/station"
)

// deskHardware is the board of a gateway at a desk: every wire is a socket of
// the world's.
type deskHardware struct {
	dir string

	first      string            // the first reader, whose chip may be somebody else's:
	spiConnect string            // one that listens here,
	spiListen  *net.UnixListener // or one that comes to us
}

var (
	_ gateway.Hardware = (*deskHardware)(nil)
	_ gateway.Timed    = (*deskHardware)(nil)
)

// Chip reaches the chip of a reader, anew if it was reached before.
func (h *deskHardware) Chip(r config.Reader) (gateway.Chip, error) {
	remote, err := h.remote(r)
	if err != nil {
		return gateway.Chip{}, fmt.Errorf("reader %s: reach the chip: %w (is badgesim world running?)", r.Name, err)
	}
	c := gateway.Chip{Port: remote}
	if r.Reset != "" {
		c.Reset = remote.ResetPin()
	}
	return c, nil
}

func (h *deskHardware) remote(r config.Reader) (*readertest.Remote, error) {
	switch {
	case r.Name == h.first && h.spiListen != nil:
		return h.accept()
	case r.Name == h.first && h.spiConnect != "":
		return readertest.Dial("unix", h.spiConnect)
	}
	return readertest.Dial("unix", spiSocket(h.dir, r.SPI))
}

// chipTimeout is how long a chip may take to come; then the reader asks again.
const chipTimeout = time.Second

// accept waits for a chip that somebody else emulates.
func (h *deskHardware) accept() (*readertest.Remote, error) {
	if err := h.spiListen.SetDeadline(time.Now().Add(chipTimeout)); err != nil {
		return nil, err
	}
	c, err := h.spiListen.Accept()
	if err != nil {
		return nil, fmt.Errorf("no chip has connected to %s yet: %w", h.spiListen.Addr(), err)
	}
	return readertest.NewRemote(c), nil
}

// Output takes a line of the world's.
func (h *deskHardware) Output(w gateway.Wire, on bool) (station.Output, error) {
	return takeLine(linesSocket(h.dir), lineRequest{Line: w.Line, Output: true, On: on})
}

// Input listens to a line of the world's.
func (h *deskHardware) Input(line string) (station.Input, error) {
	return takeLine(linesSocket(h.dir), lineRequest{Line: line})
}

// Examine says that there is nothing to examine.
func (h *deskHardware) Examine(config.Config) []control.Check {
	return []control.Check{{Name: "board", State: control.CheckOK, Text: "none: chips, lines and meters are emulated at " + h.dir}}
}

// Display has none: the desk shows its panel on lines and in watch.
func (h *deskHardware) Display(string) (i2c.BusCloser, error) {
	return nil, errors.New("the desk has no display; leave panel.display out")
}
