package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"periph.io/x/conn/v3/i2c"

	"badged/cmd/internal/gateway"
	"badged/reader/readertest"
	"badged/station"
)

// deskHardware is the board of a gateway at a desk: every wire is a socket of
// the world's.
type deskHardware struct {
	dir        string
	spiConnect string   // a chip of somebody else's, for the first reader
	spiConn    net.Conn // one that came to us
}

var _ gateway.Hardware = (*deskHardware)(nil)

// Chip reaches the chip of a reader. The first reader may be driven elsewhere.
func (h *deskHardware) Chip(r gateway.Reader) (gateway.Chip, error) {
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

func (h *deskHardware) remote(r gateway.Reader) (*readertest.Remote, error) {
	if c := h.spiConn; c != nil {
		h.spiConn = nil
		return readertest.NewRemote(c), nil
	}
	if path := h.spiConnect; path != "" {
		h.spiConnect = ""
		return readertest.Dial("unix", path)
	}
	return readertest.Dial("unix", spiSocket(h.dir, r.SPI))
}

// Output takes a line of the world's.
func (h *deskHardware) Output(w gateway.Wire, on bool) (station.Output, error) {
	return takeLine(linesSocket(h.dir), lineRequest{Line: w.Line, Output: true, ActiveLow: w.ActiveLow, On: on})
}

// Input listens to a line of the world's.
func (h *deskHardware) Input(line string) (station.Input, error) {
	return takeLine(linesSocket(h.dir), lineRequest{Line: line})
}

// Display has none: the desk shows its panel on lines and in watch.
func (h *deskHardware) Display(string) (i2c.BusCloser, error) {
	return nil, errors.New("the desk has no display; leave panel.display out")
}

// acceptChip waits for a chip that somebody else emulates.
func acceptChip(ctx context.Context, path string) (net.Conn, error) {
	l, err := listenAt(path)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	return l.Accept()
}
