package uplink

import (
	"bufio"
	"fmt"
	"net"
)

// maxPacket is the longest packet taken from a broker. MQTT allows 256 MB, and
// paho makes room for what the header promises before a byte of it is there.
const maxPacket = 256 << 10

// packetGuard cuts messages that are too long to maxPacket, whose header it
// rewrites (MQTT 3.1.1, 2.2.3). What is cut is right nowhere and so refused by
// whoever takes its topic, which is acknowledged like any other; to end the
// connection instead would let one retained message keep a gateway off its
// broker. Other packets are never that long: there it ends the connection.
type packetGuard struct {
	net.Conn
	in     *bufio.Reader
	header []byte // of the current packet, to be passed on
	body   int    // bytes of the current packet to be passed on
	excess int    // bytes of it behind them, to be dropped
}

func newPacketGuard(c net.Conn) *packetGuard { return &packetGuard{Conn: c, in: bufio.NewReader(c)} }

// Read is net.Conn's.
func (g *packetGuard) Read(b []byte) (n int, err error) {
	for len(g.header) == 0 && g.body == 0 {
		if g.excess > 0 {
			n, err := g.in.Discard(g.excess)
			if g.excess -= n; err != nil {
				return 0, err
			}
		}
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.header) > 0 {
		n = copy(b, g.header)
		g.header = g.header[n:]
		return n, nil
	}
	n, err = g.in.Read(b[:min(len(b), g.body)])
	g.body -= n
	return n, err
}

// publish is the packet type of a message (MQTT 3.1.1, 2.2.1).
const publish = 3

// next reads the header of a packet.
func (g *packetGuard) next() error {
	first, err := g.in.ReadByte()
	if err != nil {
		return err
	}
	length, err := g.length()
	if err != nil {
		return err
	}
	if length > maxPacket && first>>4 != publish {
		return g.refuse(fmt.Sprintf("a packet of type %d with %d bytes", first>>4, length))
	}
	g.body = min(length, maxPacket)
	g.excess = length - g.body
	g.header = append(g.header[:0], first)
	for rest := g.body; ; {
		digit := byte(rest & 0x7F)
		if rest >>= 7; rest > 0 {
			digit |= 0x80
		}
		g.header = append(g.header, digit)
		if rest == 0 {
			return nil
		}
	}
}

// length reads the remaining length: up to four digits to the base of 128.
func (g *packetGuard) length() (length int, err error) {
	for shift := 0; shift < 28; shift += 7 {
		digit, err := g.in.ReadByte()
		if err != nil {
			return 0, err
		}
		length |= int(digit&0x7F) << shift
		if digit&0x80 == 0 {
			return length, nil
		}
	}
	return 0, g.refuse("a length of more than four digits")
}

func (g *packetGuard) refuse(what string) error {
	_ = g.Conn.Close()
	return fmt.Errorf("broker sends %s", what)
}
