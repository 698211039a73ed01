package uplink

import (
	"fmt"
	"net"
)

// maxPacket is the longest packet taken from a broker. MQTT allows 256 MB, and
// paho makes room for what the header promises before a byte of it is there.
const maxPacket = 256 << 10

// packetGuard reads along in the stream of packets and ends the connection at the
// header of one that is too long (MQTT 3.1.1, 2.2.3).
type packetGuard struct {
	net.Conn
	body   int  // bytes left of the current packet
	inside bool // its header has begun
	digits int  // bytes of its remaining length so far
	length int  // what they say
}

// Read is net.Conn's.
func (g *packetGuard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if g.body > 0 {
			skip := min(g.body, len(rest))
			g.body, rest = g.body-skip, rest[skip:]
			continue
		}
		if bad := g.header(rest[0]); bad != nil {
			_ = g.Conn.Close()
			return 0, bad
		}
		rest = rest[1:]
	}
	return n, err
}

func (g *packetGuard) header(c byte) error {
	if !g.inside {
		g.inside, g.digits, g.length = true, 0, 0
		return nil
	}
	g.length |= int(c&0x7F) << (7 * g.digits)
	g.digits++
	if g.length > maxPacket || g.digits == 4 && c&0x80 != 0 {
		return fmt.Errorf("broker sends a packet of more than %d bytes", maxPacket)
	}
	if c&0x80 == 0 {
		g.inside, g.body = false, g.length
	}
	return nil
}
