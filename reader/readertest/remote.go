package readertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// remoteTimeout bounds one transfer over the socket.
const remoteTimeout = 5 * time.Second

// Remote is a chip at the other end of a socket: its SPI port and its reset pin.
// An error of the socket is final, because what came after it could be the answer
// to something else.
type Remote struct {
	portState
	mu  sync.Mutex
	nc  net.Conn
	buf []byte
	err error
}

var (
	_ spi.PortCloser = (*Remote)(nil)
	_ spi.Conn       = (*Remote)(nil)
	_ conn.Limits    = (*Remote)(nil)
)

// Dial connects to a chip that Serve, or somebody else's emulator, serves.
func Dial(network, addr string) (*Remote, error) {
	nc, err := net.Dial(network, addr)
	if err != nil {
		return nil, fmt.Errorf("dial chip: %w", err)
	}
	return NewRemote(nc), nil
}

// NewRemote returns the chip behind nc, which it owns from now on.
func NewRemote(nc net.Conn) *Remote {
	return &Remote{portState: portState{name: "SPI(" + nc.RemoteAddr().String() + ")"}, nc: nc}
}

// Close implements io.Closer.
func (r *Remote) Close() error {
	if err := r.portState.Close(); err != nil {
		return err
	}
	return r.nc.Close()
}

// Connect implements spi.Port. The socket knows mode 0 with 8 bits only.
func (r *Remote) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	if mode != spi.Mode0 || bits != 8 {
		return nil, fmt.Errorf("SPI over a socket: %s with %d bits, want mode 0 with 8", mode, bits)
	}
	if err := r.connect(f, bits); err != nil {
		return nil, err
	}
	return r, nil
}

// Tx implements conn.Conn.
func (r *Remote) Tx(w, rd []byte) error {
	return r.TxPackets([]spi.Packet{{W: w, R: rd}})
}

// TxPackets implements spi.Conn: all windows in one write, then all answers.
func (r *Remote) TxPackets(p []spi.Packet) error {
	if err := r.txPackets(p); err != nil {
		return fmt.Errorf("SPI over a socket: %w", err)
	}
	return nil
}

func (r *Remote) txPackets(p []spi.Packet) error {
	if _, err := checkPackets(p); err != nil {
		return err
	}
	if p[len(p)-1].KeepCS {
		return errors.New("chip select cannot stay low after a transfer")
	}
	if _, err := r.speed(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request(p)
	if err := r.roundTrip(); err != nil {
		return err
	}
	return r.answer(p)
}

// request puts the packets into the buffer, those under one chip select together.
func (r *Remote) request(p []spi.Packet) {
	r.buf = r.buf[:0]
	head := -1
	for i := range p {
		if head < 0 {
			head = len(r.buf)
			r.buf = append(r.buf, 0, 0)
		}
		r.buf = append(r.buf, p[i].W...)
		if len(p[i].W) == 0 {
			r.buf = append(r.buf, make([]byte, len(p[i].R))...)
		}
		if !p[i].KeepCS {
			binary.LittleEndian.PutUint16(r.buf[head:], uint16(len(r.buf)-head-2))
			head = -1
		}
	}
}

// roundTrip sends the buffer; it remembers what broke the socket.
func (r *Remote) roundTrip() error {
	if r.err != nil {
		return r.err
	}
	r.err = r.nc.SetDeadline(time.Now().Add(remoteTimeout))
	if r.err == nil {
		_, r.err = r.nc.Write(r.buf)
	}
	return r.err
}

// answer reads the answers into the packets.
func (r *Remote) answer(p []spi.Packet) error {
	for i := range p {
		in := p[i].R
		if len(in) == 0 {
			in = make([]byte, len(p[i].W))
		}
		if _, r.err = io.ReadFull(r.nc, in); r.err != nil {
			return r.err
		}
	}
	return nil
}

// ResetPin is the chip's NRSTPD.
func (r *Remote) ResetPin() gpio.PinOut { return remotePin{r} }

type remotePin struct{ r *Remote }

func (p remotePin) String() string   { return "NRSTPD" }
func (p remotePin) Name() string     { return "NRSTPD" }
func (p remotePin) Number() int      { return -1 }
func (p remotePin) Function() string { return "Out" }
func (p remotePin) Halt() error      { return nil }

// PWM implements gpio.PinOut.
func (p remotePin) PWM(gpio.Duty, physic.Frequency) error {
	return errors.New("NRSTPD has no PWM")
}

// Out implements gpio.PinOut.
func (p remotePin) Out(l gpio.Level) error {
	level := byte(0)
	if l {
		level = 1
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.buf = append(p.r.buf[:0], resetRequest&0xFF, resetRequest>>8, level)
	if err := p.r.roundTrip(); err != nil {
		return fmt.Errorf("reset over a socket: %w", err)
	}
	return nil
}
