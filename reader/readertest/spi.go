package readertest

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// maxTxSize is spidev's default buffer, and the largest transfer.
const maxTxSize = 4096

// csChange is what the Linux kernel waits when chip select goes high and low
// again within a message.
const csChange = 10 * time.Microsecond

// maxSpeed is the fastest clock of the SPI interface (8.1.2).
const maxSpeed = 10 * physic.MegaHertz

// window is the time between chip select going low and high.
type window struct {
	open bool
	dead bool // the chip was not there when it began
	n    int  // bytes so far
	addr byte // address byte: of the write, or of the byte to read next
}

// Port is the chip's SPI port as sysfs-spi gives it: to be connected once,
// errors flattened to text, and LimitSpeed at any time. Every call opens another
// handle on the same bus.
func (c *Chip) Port() spi.PortCloser { return &port{portState: portState{name: "SPI(MFRC522)"}, c: c} }

// portState is what the port of a chip and of a Remote have in common.
type portState struct {
	name string

	mu        sync.Mutex
	connected bool
	closed    bool
	dev, cap  physic.Frequency
}

func (s *portState) String() string { return s.name }

func (s *portState) MaxTxSize() int { return maxTxSize }

// Duplex implements conn.Conn.
func (s *portState) Duplex() conn.Duplex { return conn.Full }

// LimitSpeed implements spi.PortCloser.
func (s *portState) LimitSpeed(f physic.Frequency) error {
	if err := checkSpeed(f); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cap = f
	return nil
}

func checkSpeed(f physic.Frequency) error {
	if f < 100*physic.Hertz || f > physic.GigaHertz {
		return fmt.Errorf("sysfs-spi: invalid speed %s", f)
	}
	return nil
}

func (s *portState) connect(f physic.Frequency, bits int) error {
	if err := checkSpeed(f); err != nil {
		return err
	}
	if bits < 1 || bits >= 256 {
		return fmt.Errorf("sysfs-spi: invalid bits %d", bits)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected {
		return errors.New("sysfs-spi: Connect() can only be called exactly once")
	}
	s.connected, s.dev = true, f
	return nil
}

// Close implements io.Closer.
func (s *portState) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("sysfs-spi: file already closed")
	}
	s.closed = true
	return nil
}

// speed is the clock that holds, or the error of a closed port.
func (s *portState) speed() (physic.Frequency, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errors.New("file already closed")
	}
	if s.cap != 0 && s.cap < s.dev {
		return s.cap, nil
	}
	return s.dev, nil
}

// checkPackets refuses what spidev refuses and returns the total length.
func checkPackets(p []spi.Packet) (int, error) {
	total := 0
	for i := range p {
		w, r := len(p[i].W), len(p[i].R)
		if w != r && w != 0 && r != 0 {
			return 0, fmt.Errorf("when both w and r are used, they must be the same size; got %d and %d bytes", w, r)
		}
		total += max(w, r)
	}
	switch {
	case total == 0:
		return 0, errors.New("empty packets")
	case total > maxTxSize:
		return 0, fmt.Errorf("maximum length is %d, got %d bytes", maxTxSize, total)
	}
	return total, nil
}

// port is the chip's spi.PortCloser and, once connected, its spi.Conn.
type port struct {
	portState
	c    *Chip
	one  [1]spi.Packet
	oneM sync.Mutex
}

var (
	_ spi.PortCloser = (*port)(nil)
	_ spi.Conn       = (*port)(nil)
	_ conn.Limits    = (*port)(nil)
)

// Connect implements spi.Port.
func (p *port) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	if err := p.connect(f, bits); err != nil {
		return nil, err
	}
	if mode != spi.Mode0 || bits != 8 {
		p.c.violate("SPI %s with %d bits, not mode 0 with 8", mode, bits)
	}
	return p, nil
}

// Tx implements conn.Conn.
func (p *port) Tx(w, r []byte) error {
	p.oneM.Lock() // one packet without an allocation, as sysfs-spi does it
	defer p.oneM.Unlock()
	p.one[0] = spi.Packet{W: w, R: r}
	if err := p.txPackets(p.one[:]); err != nil {
		return fmt.Errorf("sysfs-spi: Tx() failed: %v", err)
	}
	return nil
}

// TxPackets implements spi.Conn.
func (p *port) TxPackets(packets []spi.Packet) error {
	if err := p.txPackets(packets); err != nil {
		return fmt.Errorf("sysfs-spi: TxPackets() failed: %v", err)
	}
	return nil
}

func (p *port) txPackets(packets []spi.Packet) error {
	if _, err := checkPackets(packets); err != nil {
		return err
	}
	f, err := p.speed()
	if err != nil {
		return err
	}
	if f > maxSpeed {
		p.c.violate("SPI clock of %s, more than %s", f, maxSpeed)
	}
	p.c.mu.Lock()
	err = p.c.transfer(packets, f)
	owed := p.c.owed
	p.c.mu.Unlock()
	if p.c.opts.RealTime {
		time.Sleep(owed)
	}
	return err
}

// transfer is one message on the bus. The bus is held.
func (c *Chip) transfer(packets []spi.Packet, f physic.Frequency) error {
	c.owed = 0
	c.pass(c.opts.TransferCost)
	c.transfers.Add(1)
	c.faultsDue()
	if c.faulty(FaultEIO) {
		return syscall.EIO
	}
	byteTime := time.Duration(8 * int64(time.Second) / int64(f/physic.Hertz))
	for i := range packets {
		if i > 0 && !c.window.open {
			c.pass(csChange)
		}
		c.packet(&packets[i], byteTime)
		if !packets[i].KeepCS {
			c.deselect()
		}
	}
	c.pinIRQ.stir()
	return nil
}

func (c *Chip) packet(p *spi.Packet, byteTime time.Duration) {
	for k := range max(len(p.W), len(p.R)) {
		var out byte
		if k < len(p.W) {
			out = p.W[k]
		}
		c.pass(byteTime)
		in := c.exchange(out)
		if k < len(p.R) {
			p.R[k] = in
		}
	}
}

// pass lets bus time pass; a real-time chip looks at the clock instead, and the
// host owes it the time.
func (c *Chip) pass(d time.Duration) {
	if c.opts.RealTime {
		c.owed += d
		c.catchUp()
		return
	}
	c.advance(c.now() + d)
}

// exchange is eight clocks with chip select low.
func (c *Chip) exchange(mosi byte) (miso byte) {
	c.bytes.Add(1)
	if !c.window.open {
		c.window = window{open: true, dead: c.asleep()}
		c.windows.Add(1)
	}
	w := &c.window
	w.n++
	if w.dead || c.asleep() {
		return c.onMISO(0)
	}
	switch {
	case w.n == 1:
		w.addr = mosi
		c.checkAddress(mosi)
	case w.addr&0x80 == 0:
		c.write(w.addr>>1&0x3F, mosi)
	default:
		miso = c.read(w.addr >> 1 & 0x3F)
		if w.n > 2 && c.faulty(FaultBurstBroken) {
			miso = ^miso
		}
		c.nextRead(mosi)
	}
	c.settle()
	return c.onMISO(miso)
}

func (c *Chip) checkAddress(b byte) {
	if b&1 != 0 {
		c.violate("address byte %02X with bit 0 set", b)
	}
}

// nextRead takes the address of the next byte of a read; 00 ends the stream
// (8.1.2.1). Nothing is read until the next byte is clocked.
func (c *Chip) nextRead(b byte) {
	if c.window.n > 2 && c.window.addr == 0x80 {
		c.violate("read stream goes on after 00")
	}
	if b != 0 {
		c.checkAddress(b)
		if b&0x80 == 0 {
			c.violate("write address %02X in a read stream", b)
		}
	}
	c.window.addr = b | 0x80
}

// deselect is chip select going high.
func (c *Chip) deselect() {
	if w := &c.window; !w.dead && w.n > 1 && w.addr > 0x80 {
		c.violate("read stream that does not end with 00")
	}
	c.window = window{}
}
