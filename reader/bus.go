package reader

import (
	"errors"

	"periph.io/x/conn/v3/spi"
)

// maxWindow is the longest chip-select window in bytes. Early Pi 5 kernels lose
// the DMA of transfers beyond 64 bytes (raspberrypi/linux issue 6020).
const maxWindow = 64

// bus collects chip-select windows (MFRC522 rev. 3.9, 8.1.2) and moves them in
// one transfer. Nothing is allocated once the buffers have grown.
type bus struct {
	conn spi.Conn // nil: closed, and not opened again yet
	// split makes every byte its own window, for a bus that releases chip
	// select between the bytes of a burst (raspberrypi/linux issue 6354).
	split bool

	windows []spi.Packet
	w, r    []byte // what the windows send and receive
	got     []byte // what the reads brought
}

var errClosed = errors.New("the bus is closed")

// write queues a write of data to one register; to fifoDataReg it fills the FIFO.
func (b *bus) write(reg byte, data ...byte) {
	for len(data) > 0 {
		n := min(len(data), maxWindow-1)
		if b.split {
			n = 1
		}
		at := len(b.w)
		b.w = append(append(b.w, reg<<1), data[:n]...)
		b.windows = append(b.windows, spi.Packet{W: b.w[at:]})
		data = data[n:]
	}
}

// read queues a read of one byte from each of regs. The answer to an address
// comes with the byte behind it, so the window ends with a 0.
func (b *bus) read(regs ...byte) {
	for len(regs) > 0 {
		n := min(len(regs), maxWindow-1)
		if b.split {
			n = 1
		}
		at, rat := len(b.w), len(b.r)
		for _, reg := range regs[:n] {
			b.w = append(b.w, 0x80|reg<<1)
		}
		b.w = append(b.w, 0)
		for range n + 1 {
			b.r = append(b.r, 0)
		}
		b.windows = append(b.windows, spi.Packet{W: b.w[at:], R: b.r[rat:]})
		regs = regs[n:]
	}
}

// do moves the queue and returns the bytes read, in order, valid until the next
// do. An error is a Fault of kind FaultSPI.
func (b *bus) do() ([]byte, error) {
	err := errClosed
	if b.conn != nil {
		err = b.conn.TxPackets(b.windows)
	}
	b.got = b.got[:0]
	for _, p := range b.windows {
		if len(p.R) > 0 {
			b.got = append(b.got, p.R[1:]...)
		}
	}
	b.windows, b.w, b.r = b.windows[:0], b.w[:0], b.r[:0]
	if err != nil {
		return nil, &Fault{Kind: FaultSPI, Err: err}
	}
	return b.got, nil
}

// readOne reads one register.
func (b *bus) readOne(reg byte) (byte, error) {
	b.read(reg)
	got, err := b.do()
	if err != nil {
		return 0, err
	}
	return got[0], nil
}
