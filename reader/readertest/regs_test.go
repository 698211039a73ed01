package readertest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"badged/reader/readertest"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// data sheet rev. 3.9, 9.2: the registers whose reset value is given.
var afterReset = map[byte]byte{
	0x01: 0x20, 0x02: 0x80, 0x03: 0x00, 0x04: 0x14, 0x05: 0x00, 0x06: 0x00, 0x07: 0x21, 0x08: 0x00,
	0x0A: 0x00, 0x0B: 0x08, 0x0C: 0x10, 0x0D: 0x00, 0x11: 0x3F, 0x12: 0x00, 0x13: 0x00, 0x14: 0x80,
	0x15: 0x00, 0x16: 0x10, 0x17: 0x84, 0x18: 0x84, 0x19: 0x4D, 0x1C: 0x62, 0x1D: 0x00, 0x1F: 0xEB,
	0x21: 0xFF, 0x22: 0xFF, 0x23: 0x88, 0x24: 0x26, 0x25: 0x87, 0x26: 0x48, 0x27: 0x88, 0x28: 0x20,
	0x29: 0x20, 0x2A: 0x00, 0x2B: 0x00, 0x2C: 0x00, 0x2D: 0x00, 0x31: 0x00, 0x32: 0x00, 0x33: 0x80,
	0x34: 0x00, 0x36: 0x40, 0x37: 0x92, 0x38: 0x00, 0x3C: 0xFF, 0x3D: 0x00, 0x3E: 0x03, 0x3F: 0x00,
}

func TestRegistersAfterReset(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	for a, want := range afterReset {
		b.wantReg(fmt.Sprintf("register %02X", a), 0x80|a<<1, want)
	}
	b.batch("54 8D|56 3E|16 20|12 010203")
	b.tx("02 0F") // SoftReset
	for a, want := range afterReset {
		b.wantReg(fmt.Sprintf("register %02X after SoftReset", a), 0x80|a<<1, want)
	}
}

func TestOneReadWindowNamesManyRegisters(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.batch("12 A1B2C3") // a write burst goes to one register
	got := b.tx("EE 94 92 92 94 92 94 00")
	want := []byte{0x92, 3, 0xA1, 0xB2, 1, 0xC3, 0}
	if !bytes.Equal(got[1:], want) {
		t.Errorf("got % X, want % X", got[1:], want)
	}
	if s := b.Stats(); s.Transfers != 2 || s.Windows != 2 || s.Bytes != 4+8 {
		t.Errorf("got %+v, want 2 transfers, 2 windows, 12 bytes", s)
	}
}

func TestChipSelectMayStayLowBetweenPackets(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	in := make([]byte, 2)
	err := b.conn.TxPackets([]spi.Packet{
		{W: []byte{0x16}, KeepCS: true}, {W: []byte{0x21}}, {W: []byte{0x96}, KeepCS: true}, {R: in[:1]},
	})
	if err != nil || in[0] != 0x21 {
		t.Errorf("got WaterLevelReg %02X (%v), want 21", in[0], err)
	}
	if n := b.Stats().Windows; n != 2 {
		t.Errorf("got %d windows, want 2", n)
	}
}

func TestTimeOnTheBus(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.batch("16 21|16 22") // 30 µs, two bytes of 2 µs, 10 µs, two bytes
	if got, want := b.Now(), 48*time.Microsecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSetBitsOfTheInterruptRegisters(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.tx("08 7F") // Set1 = 0 clears
	b.wantReg("ComIrqReg cleared", 0x88, 0x00)
	b.tx("08 A1") // Set1 = 1 sets RxIRq and TimerIRq
	b.wantReg("ComIrqReg set", 0x88, 0x21)
	b.tx("08 01")
	b.wantReg("ComIrqReg with TimerIRq cleared", 0x88, 0x20)
	b.tx("0A 94")
	b.wantReg("DivIrqReg set", 0x8A, 0x14)
	b.tx("0A 10")
	b.wantReg("DivIrqReg with MfinActIRq cleared", 0x8A, 0x04)
	b.wantReg("Status1Reg without an enabled request", 0x8E, 0x21)
	b.tx("04 A0")
	b.wantReg("Status1Reg with IRq", 0x8E, 0x31)
}

func TestFIFOLevelsAndOverflow(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.tx("08 7F")
	b.tx("12 " + strings.Repeat("55", 9))
	b.wantReg("Status1Reg above the water level", 0x8E, 0x20)
	b.tx("12 " + strings.Repeat("55", 47)) // 56: 64-56 <= 8
	b.wantReg("Status1Reg with HiAlert", 0x8E, 0x22)
	b.wantReg("ComIrqReg with HiAlertIRq", 0x88, 0x08)
	b.tx("12 " + strings.Repeat("55", 9))
	b.wantReg("FIFOLevelReg", 0x94, 64)
	b.wantReg("ErrorReg with BufferOvfl", 0x8C, 0x10)
	b.wantReg("ComIrqReg with ErrIRq", 0x88, 0x0A)
	b.tx("02 03") // a command does not clear BufferOvfl
	b.wantReg("ErrorReg after a command", 0x8C, 0x10)
	b.tx("14 80")
	b.wantReg("ErrorReg after FlushBuffer", 0x8C, 0x00)
	b.wantReg("FIFOLevelReg after FlushBuffer", 0x94, 0)
	b.wantReg("ComIrqReg with LoAlertIRq", 0x88, 0x0E)
}

func TestCalcCRCStreams(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.batch("22 3D|14 80|12 50|02 03") // preset 6363
	b.batch("12 00")
	b.wantReg("CRCResultReg low", 0xC4, 0x57) // HLTA: 50 00 57 CD
	b.wantReg("CRCResultReg high", 0xC2, 0xCD)
	b.wantReg("DivIrqReg", 0x8A, 0x04)
	b.wantReg("CommandReg: it never ends", 0x82, 0x03)
	b.batch("02 00|22 3F|12 313233343536373839|02 03") // CRC-16/MCRF4XX
	b.wantReg("CRCResultReg low, preset FFFF", 0xC4, 0x91)
	b.wantReg("CRCResultReg high, preset FFFF", 0xC2, 0x6F)
	b.batch("02 00|22 BF|12 313233343536373839|02 03") // MSBFirst: CRC-16/IBM-3740, 29B1
	b.wantReg("CRCResultReg low, MSBFirst", 0xC4, 0xB1)
	b.wantReg("CRCResultReg high, MSBFirst", 0xC2, 0x29)
}

func TestMemAndRandomID(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	fill := strings.Repeat("A5", 25)
	b.batch("12 " + fill + "|02 01")
	b.wantReg("FIFOLevelReg after Mem", 0x94, 0)
	b.wantReg("CommandReg after Mem", 0x82, 0x00)
	b.tx("02 0F")
	b.tx("02 01")
	if got := b.received(); !bytes.Equal(got, unhex(t, fill)) {
		t.Errorf("got buffer % X after SoftReset, want % s", got, fill)
	}
	b.batch("02 02|02 01")
	got := b.received()
	if len(got) != 25 || bytes.Equal(got[:10], unhex(t, fill)[:10]) || !bytes.Equal(got[10:], unhex(t, fill)[10:]) {
		t.Errorf("got % X, want ten random bytes and fifteen A5", got)
	}
	b.ResetPin().Out(gpio.High)
	b.Sleep(time.Millisecond)
	b.tx("02 01")
	if got := b.received(); !bytes.Equal(got, make([]byte, 25)) {
		t.Errorf("got buffer % X after a hard reset, want zeros", got)
	}
}

func TestUnknownCommandsFallToIdle(t *testing.T) {
	for _, cmd := range []string{"05", "06", "09", "0A", "0B", "0D"} {
		b := newBus(t, readertest.Opts{})
		b.batch("08 7F|02 " + cmd)
		b.wantReg("CommandReg after "+cmd, 0x82, 0x00)
		b.wantReg("ComIrqReg after "+cmd, 0x88, 0x10)
	}
}

func TestIdleByTheHostRaisesNothing(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.batch("08 7F|02 0C|02 07")
	b.wantReg("CommandReg after NoCmdChange", 0x82, 0x0C)
	b.batch("02 00")
	b.wantReg("CommandReg", 0x82, 0x00)
	b.wantReg("ComIrqReg", 0x88, 0x00)
}

func TestSoftPowerDown(t *testing.T) {
	b := newBus(t, readertest.Opts{TransferCost: time.Microsecond})
	b.batch("16 21|02 10")
	b.Sleep(time.Second)
	b.wantReg("CommandReg", 0x82, 0x10)
	b.wantReg("WaterLevelReg", 0x96, 0x21)
	b.tx("02 00")
	b.wantReg("CommandReg while it wakes", 0x82, 0x10)
	b.Sleep(37740 * time.Nanosecond)
	b.wantReg("CommandReg awake", 0x82, 0x00)
}

func TestHardReset(t *testing.T) {
	b := newBus(t, readertest.Opts{TransferCost: time.Microsecond})
	pin := b.ResetPin()
	if err := pin.Out(gpio.High); err != nil { // the line's request glitches
		t.Fatal(err)
	}
	b.Sleep(time.Millisecond)
	b.tx("16 21")
	pin.Out(gpio.Low)
	b.wantReg("VersionReg in reset", 0xEE, 0x00)
	pin.Out(gpio.High)
	b.wantReg("VersionReg while the crystal starts", 0xEE, 0x00)
	b.Sleep(37740 * time.Nanosecond)
	b.wantReg("VersionReg", 0xEE, 0x92)
	b.wantReg("WaterLevelReg", 0x96, 0x08)
}

// MFRC522 rev. 3.9, 16.1.1: the procedure, and the ends of its vectors.
func TestSelfTest(t *testing.T) {
	for v, want := range map[byte]string{
		0x92: "00EB66BA57BF2395 DC15BA3E7D953B2F", 0x91: "00C637D532B7575C D90FB55E251D2979",
		0x90: "0087980F49FF0719 3596989E4F30328D", 0x88: "00D6788CE2AA0C18 569A988226EA2A62",
	} {
		b := newBus(t, readertest.Opts{Version: v})
		b.tx("02 0F")
		b.batch("12 " + strings.Repeat("00", 25) + "|02 01|6C 49|12 00|02 03")
		b.Sleep(2 * time.Millisecond)
		got := b.received()
		b.batch("02 00|6C 40")
		w := unhex(t, want)
		if len(got) != 64 || !bytes.Equal(got[:8], w[:8]) || !bytes.Equal(got[56:], w[8:]) {
			t.Errorf("version %02X: got % X, want %s at its ends", v, got, want)
		}
	}
}

func TestSelfTestSpoilsTheRFPartUntilReset(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(card(t, "classic-1k"))
	b.batch("6C 49|12 00|02 03")
	b.Sleep(2 * time.Millisecond)
	b.batch("02 00|6C 40|14 80")
	b.setUp()
	b.want("REQA after the self test", "26", 7, "")
	b.tx("02 0F")
	b.setUp()
	b.want("REQA after a reset", "26", 7, "0400")
}

func TestWhatTheDataSheetForbids(t *testing.T) {
	for name, do := range map[string]func(*bus){
		"address with bit 0 set":     func(b *bus) { b.tx("EF 00") },
		"write in a read stream":     func(b *bus) { b.tx("EE 16 00") },
		"read stream without 00":     func(b *bus) { b.tx("EE EE") },
		"write to VersionReg":        func(b *bus) { b.tx("6E 00") },
		"write to a reserved bit":    func(b *bus) { b.tx("4C 40") },
		"StartSend in Idle":          func(b *bus) { b.tx("1A 87") },
		"sending nothing":            func(b *bus) { b.batch("02 0C|1A 87") },
		"reset pulse of no length":   func(b *bus) { p := b.ResetPin(); p.Out(gpio.Low); p.Out(gpio.High) },
		"reserved bit of CommandReg": func(b *bus) { b.tx("02 80") },
		"SPI mode 3":                 func(b *bus) { b.Port().Connect(physic.MegaHertz, spi.Mode3, 8) },
		"a clock of 20 MHz": func(b *bus) {
			c, _ := b.Port().Connect(20*physic.MegaHertz, spi.Mode0, 8)
			c.Tx([]byte{0xEE, 0}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := 0
			b := newBus(t, readertest.Opts{Violation: func(string) { told++ }})
			do(b)
			if got := b.Violations(); len(got) == 0 || told != len(got) {
				t.Errorf("got violations %q and %d calls, want the same and some", got, told)
			}
		})
	}
}

func TestPortIsAsSysfsGivesIt(t *testing.T) {
	c := readertest.New(readertest.Opts{})
	p := c.Port()
	conn, err := p.Connect(4*physic.MegaHertz, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Connect(4*physic.MegaHertz, spi.Mode0, 8); err == nil {
		t.Error("got a second Connect, want an error")
	}
	if err := p.LimitSpeed(0); err == nil {
		t.Error("got LimitSpeed(0), want an error")
	}
	if err := conn.Tx(nil, nil); err == nil {
		t.Error("got an empty Tx, want an error")
	}
	if err := conn.Tx(make([]byte, 4097), nil); err == nil {
		t.Error("got a Tx of 4097 bytes, want an error")
	}
	if err := conn.Tx(make([]byte, 2), make([]byte, 3)); err == nil {
		t.Error("got a Tx of different lengths, want an error")
	}
	start := c.Now()
	p.LimitSpeed(physic.MegaHertz)
	conn.Tx([]byte{0xEE, 0}, nil)
	if got, want := c.Now()-start, 46*time.Microsecond; got != want {
		t.Errorf("got %v for two bytes at 1 MHz, want %v", got, want)
	}
	p.Close()
	if err := conn.Tx([]byte{0xEE, 0}, nil); err == nil {
		t.Error("got a Tx on a closed port, want an error")
	}
}
