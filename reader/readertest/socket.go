package readertest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/spi"
)

// The socket's protocol. A request is a little-endian uint16 and that many MOSI
// bytes of one chip-select window; its answer is as many MISO bytes, bare.
// Length resetRequest is followed by one byte, the level of the reset pin, and
// has no answer. Requests may be pipelined.
const resetRequest = 0xFFFF

// Serve accepts connections on l, gives each the chip, and closes l. Windows are
// atomic; who shares the chip otherwise is the clients' business. It returns nil
// when ctx ends, after the last connection.
func Serve(ctx context.Context, l net.Listener, c *Chip) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case err != nil:
			return err
		}
		wg.Go(func() { _ = ServeConn(ctx, nc, c) }) // a peer that dies is its own affair
	}
}

// ServeConn gives the chip to one peer until the peer hangs up (nil), breaks off
// inside a request or fails (an error), or ctx ends (nil). It closes nc.
func ServeConn(ctx context.Context, nc net.Conn, c *Chip) error {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	s := server{r: bufio.NewReaderSize(nc, 1<<17), w: bufio.NewWriter(nc), c: c}
	for {
		if err := s.request(); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

type server struct {
	r    *bufio.Reader
	w    *bufio.Writer
	c    *Chip
	owed time.Duration // what the windows since the last pause should have taken
}

// request serves one request; io.EOF is a peer that hung up between two.
func (s *server) request() error {
	head, err := s.next(2)
	if err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint16(head))
	if n == resetRequest {
		level, err := s.next(1)
		if err != nil {
			return midway(err)
		}
		return s.c.pinReset.Out(level[0] != 0)
	}
	mosi, err := s.next(n)
	if err != nil {
		return midway(err)
	}
	out, owed := s.c.windowTransfer(mosi)
	s.owed += owed
	_, err = s.w.Write(out)
	return err
}

func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads n bytes. Before it waits for them it hands over the answers so far,
// no sooner than a real bus would have them: requests that came together are one
// transfer in several windows.
func (s *server) next(n int) ([]byte, error) {
	if s.r.Buffered() < n {
		if s.owed > 0 {
			time.Sleep(s.owed + s.c.opts.TransferCost)
			s.owed = 0
		}
		if err := s.w.Flush(); err != nil {
			return nil, err
		}
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.r, b)
	return b, err
}

// windowTransfer is one window from the socket, in place, and how long it should
// have taken in real time. A transfer that the host's driver would refuse reads as
// a bus without a chip.
func (c *Chip) windowTransfer(b []byte) (miso []byte, owed time.Duration) {
	if len(b) == 0 {
		return b, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deselect() // whatever another user left open
	p := [1]spi.Packet{{W: b, R: b}}
	if err := c.transfer(p[:], maxSpeed); err != nil {
		for i := range b {
			b[i] = 0xFF
		}
	}
	return b, max(0, c.owed-c.opts.TransferCost)
}

var _ gpio.PinOut = (*resetPin)(nil)
