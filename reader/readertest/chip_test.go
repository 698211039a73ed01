package readertest_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"badged/mifare"
	"badged/mifare/mifaretest"
	"badged/reader/readertest"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// bus drives a chip with bytes written out, as the data sheet has them.
type bus struct {
	t *testing.T
	*readertest.Chip
	conn spi.Conn
}

// connect returns a bus at 4 MHz.
func connect(t *testing.T, c *readertest.Chip) *bus {
	t.Helper()
	p := c.Port()
	conn, err := p.Connect(4*physic.MegaHertz, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	return &bus{t: t, Chip: c, conn: conn}
}

// newBus is a strict chip: a violation fails the test.
func newBus(t *testing.T, o readertest.Opts) *bus {
	t.Helper()
	if o.Violation == nil {
		o.Violation = func(s string) { t.Errorf("violation: %s", s) }
	}
	return connect(t, readertest.New(o))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tx is one window of MOSI bytes in hex; it returns MISO.
func (b *bus) tx(mosi string) []byte {
	b.t.Helper()
	w := unhex(b.t, mosi)
	r := make([]byte, len(w))
	if err := b.conn.Tx(w, r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// batch is several windows, separated by |, in one transfer.
func (b *bus) batch(mosi string) {
	b.t.Helper()
	var p []spi.Packet
	for _, w := range strings.Split(mosi, "|") {
		p = append(p, spi.Packet{W: unhex(b.t, w)})
	}
	if err := b.conn.TxPackets(p); err != nil {
		b.t.Fatal(err)
	}
}

// reg reads the register whose read address is given: 80 | address<<1.
func (b *bus) reg(addr byte) byte {
	b.t.Helper()
	return b.tx(hex.EncodeToString([]byte{addr, 0}))[1]
}

func (b *bus) wantReg(what string, addr, want byte) {
	b.t.Helper()
	if got := b.reg(addr); got != want {
		b.t.Errorf("%s: got %02X, want %02X", what, got, want)
	}
}

// setUp configures the chip as every driver does and waits for the cards.
func (b *bus) setUp() {
	b.t.Helper()
	b.batch("24 00|26 00|48 26|54 80|56 A9|58 00|5A 27|2A 40|22 3D|1C 00|28 83")
	b.Sleep(5 * time.Millisecond)
}

// send transceives hex data with framing (BitFramingReg without StartSend).
func (b *bus) send(data string, framing byte) {
	b.t.Helper()
	f := hex.EncodeToString([]byte{framing | 0x80})
	b.batch("02 00|08 7F|14 80|12 " + data + "|02 0C|1A " + f)
	b.Sleep(2 * time.Millisecond)
}

// received empties the FIFO.
func (b *bus) received() []byte {
	b.t.Helper()
	n := int(b.reg(0x94))
	if n == 0 {
		return nil
	}
	return b.tx(strings.Repeat("92", n) + "00")[1:]
}

func (b *bus) want(what, data string, framing byte, answer string) {
	b.t.Helper()
	b.send(data, framing)
	got, want := b.received(), unhex(b.t, answer)
	if !bytes.Equal(got, want) {
		b.t.Errorf("%s: got % X, want % X (ErrorReg %02X)", what, got, want, b.reg(0x8C))
	}
}

func card(t testing.TB, kind string) *mifaretest.Card {
	t.Helper()
	s, err := mifaretest.Lookup(kind)
	if err != nil {
		t.Fatal(err)
	}
	return mifaretest.New(s)
}

func TestReadsAUIDByRawBytes(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(card(t, "classic-1k")) // 9C599B32
	b.setUp()
	b.want("REQA", "26", 7, "0400")
	b.want("ANTICOLL", "9320", 0, "9C599B32 6C")
	b.want("SELECT", withCRC(t, "9370 9C599B32 6C"), 0, "08B6DD")
}

// withCRC appends CRC_A to a frame in hex.
func withCRC(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(mifare.AppendCRCA(b))
}
