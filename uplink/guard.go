package uplink

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"
)

// maxPacket is the longest packet taken from a broker. MQTT allows 256 MB, and
// paho makes room for what the header promises before a byte of it is there.
const maxPacket = 256 << 10

// packetGuard stands between paho and the network, and trusts neither.
//
// It cuts messages that are too long to maxPacket, whose header it rewrites (MQTT
// 3.1.1, 2.2.3). What is cut is right nowhere and so refused by whoever takes its
// topic, which is acknowledged like any other; to end the connection instead would
// let one retained message keep a gateway off its broker. Whatever else a broker may
// send has one length each: on another, or on what no broker may send, it ends the
// connection. paho 1.5.1 would panic, or take it for success.
//
// It ends the connection too when a write of any kind takes longer than patience:
// paho bounds those of messages, not those of pings and subscriptions.
type packetGuard struct {
	net.Conn
	patience time.Duration // 0 is for ever
	broken   func(error)   // is told of a write that failed
	in       *bufio.Reader
	header   []byte // of the current packet, to be passed on
	body     int    // bytes of the current packet to be passed on
	excess   int    // bytes of it behind them, to be dropped
}

func newPacketGuard(c net.Conn, patience time.Duration, broken func(error)) *packetGuard {
	return &packetGuard{Conn: c, patience: patience, broken: broken, in: bufio.NewReader(c)}
}

// Write is net.Conn's, within patience.
func (g *packetGuard) Write(b []byte) (int, error) {
	if g.patience > 0 {
		if err := g.Conn.SetWriteDeadline(time.Now().Add(g.patience)); err != nil {
			return 0, err
		}
	}
	n, err := g.Conn.Write(b)
	if err != nil {
		g.broken(fmt.Errorf("write to broker: %w", err))
	}
	return n, err
}

// SetWriteDeadline does nothing: paho lifts the deadline after each of its messages,
// and another packet may be stuck.
func (g *packetGuard) SetWriteDeadline(time.Time) error { return nil }

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

// Packet types (MQTT 3.1.1, 2.2.1).
const (
	connack    = 2
	publish    = 3
	disconnect = 14
)

// lengths are those of the packets that a broker may send beside messages (MQTT
// 3.1.1, 3). A SUBACK has a code for each topic: Conn asks for one at a time.
var lengths = map[byte]int{connack: 2, 4: 2, 5: 2, 6: 2, 7: 2, 9: 3, 11: 2, 13: 0}

// tlsAlert begins what a server of TLS says to whom it does not understand (RFC 8446,
// 5.1); a broker may not send such a packet.
const tlsAlert = 21

// lastConnackCode is the last that MQTT 3.1.1 knows (3.2.2.3).
const lastConnackCode = 5

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
	if err := g.check(first, length); err != nil {
		return err
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

// check looks at a packet before paho does.
func (g *packetGuard) check(first byte, length int) error {
	kind := first >> 4
	if kind == publish {
		if qos := first >> 1 & 3; qos == 3 {
			return g.refuse("a message of QoS 3")
		}
		return nil
	}
	if kind == disconnect { // MQTT 3.1.1 has it for clients only; mochi-mqtt 2.7.9 says it to whom it kicks out
		return fmt.Errorf("broker says goodbye: %w", io.EOF)
	}
	if first == tlsAlert && length == 3 { // and the version's major number is the length
		return errTLS
	}
	if want, known := lengths[kind]; !known || length != want {
		return g.refuse(fmt.Sprintf("a packet of type %d with %d bytes", kind, length))
	}
	if kind == connack {
		body, err := g.in.Peek(length)
		if err != nil {
			return err
		}
		if code := body[1]; code > lastConnackCode {
			return g.refuse(fmt.Sprintf("a CONNACK with code %d", code))
		}
	}
	return nil
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
	return fmt.Errorf("broker sends %s: is it an MQTT 3.1.1 broker?", what)
}
