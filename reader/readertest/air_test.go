package readertest_test

import (
	"fmt"
	"math/bits"
	"testing"
	"time"

	"badged/mifare"
	"badged/mifare/mifaretest"
	"badged/reader/readertest"
)

// withUID is a Classic 1K with the UID given in hex.
func withUID(t testing.TB, uid string) *mifaretest.Card {
	t.Helper()
	s, err := mifaretest.Lookup("classic-1k")
	if err != nil {
		t.Fatal(err)
	}
	if s.UID, err = mifare.ParseUID(uid); err != nil {
		t.Fatal(err)
	}
	return mifaretest.New(s)
}

// script is a PICC that answers every frame it hears with the same thing.
type script struct {
	reply mifaretest.Reply
	heard []mifaretest.Frame
	on    bool
}

func (s *script) Power(on bool) { s.on = on }
func (s *script) Answer(f mifaretest.Frame) (mifaretest.Reply, bool) {
	s.heard = append(s.heard, f)
	return s.reply, s.reply.Bits > 0
}

func says(bits int, data ...byte) *script {
	return &script{reply: mifaretest.Reply{Frame: mifaretest.Frame{Data: data, Bits: bits}}}
}

// exchanges measures every exchange with card: from the start of the PCD frame to
// the end of the answer.
func exchanges(t *testing.T, card mifaretest.PICC, frames ...string) (took []time.Duration) {
	t.Helper()
	var start time.Duration
	b := newBus(t, readertest.Opts{Trace: func(a readertest.Air) {
		if a.PCD {
			start = a.Start
		} else {
			took = append(took, a.End-start)
		}
	}})
	b.Put(card)
	b.setUp()
	b.send("26", 7)
	for _, f := range frames {
		b.received()
		b.send(f, 0)
	}
	return took
}

// The floors that ISO/IEC 14443-3 leaves: frames with the shortest frame delay
// time, one after the other with the shortest PICC to PCD delay (1172/fc), and
// the etu of the last end of communication.
func TestAirTimesAreTheStandards(t *testing.T) {
	const µs = time.Microsecond
	guard := 86430 * time.Nanosecond
	for _, tc := range []struct {
		name   string
		uid    string
		frames []string
		want   []time.Duration
		floor  time.Duration
	}{
		{"single", "9C599B32", []string{"9320", withCRC(t, "93709C599B326C")},
			[]time.Duration{344 * µs, 702 * µs, 1127 * µs}, 2360 * µs},
		{"double", "04573CEAFEE480", []string{"9320", withCRC(t, "93708804573CE7"), "9520", withCRC(t, "9570EAFEE48070")},
			[]time.Duration{344 * µs, 702 * µs, 1127 * µs, 702 * µs, 1127 * µs}, 4360 * µs},
		{"triple", "0411223344556677AA80", []string{"9320", withCRC(t, "937088041122BF"), "9520", withCRC(t, "957088334455AA"),
			"9720", withCRC(t, "97706677AA803B")},
			[]time.Duration{344 * µs, 702 * µs, 1127 * µs, 702 * µs, 1127 * µs, 702 * µs, 1127 * µs}, 6360 * µs},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := exchanges(t, withUID(t, tc.uid), tc.frames...)
			if len(got) != len(tc.want) {
				t.Fatalf("got %d exchanges (%v), want %d", len(got), got, len(tc.want))
			}
			total := 9440 * time.Nanosecond
			for i := range got {
				if got[i].Round(µs) != tc.want[i] {
					t.Errorf("exchange %d: got %v, want %v", i, got[i], tc.want[i])
				}
				if total += got[i]; i > 0 {
					total += guard
				}
			}
			if d := total - tc.floor; d < -5*µs || d > 5*µs {
				t.Errorf("got %v in all, want %v", total, tc.floor)
			}
		})
	}
}

func TestSameRunGivesTheSameNanoseconds(t *testing.T) {
	run := func() (out string) {
		b := newBus(t, readertest.Opts{Trace: func(a readertest.Air) { out += fmt.Sprintln(a) }})
		b.Put(withUID(t, "11223344"))
		b.Put(withUID(t, "11223345"))
		b.Inject(readertest.Fault{Kind: readertest.FaultNoise, Count: 50, Seed: 4})
		b.setUp()
		for range 10 {
			b.send("52", 7)
			b.send("9320", 0)
		}
		return out
	}
	if a, b := run(), run(); a != b || a == "" {
		t.Errorf("got two different runs:\n%s\n%s", a, b)
	}
}

func TestCardsAnswerOnlyWhenEverythingIsRight(t *testing.T) {
	for name, spoil := range map[string]string{
		"antenna off":           "28 80",
		"one driver only":       "28 81",
		"no Force100ASK":        "2A 00",
		"sending at 212 kBd":    "24 10",
		"receiving at 212 kBd":  "26 10",
		"inverted modulation":   "24 08",
		"receiver switched off": "02 20",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, readertest.Opts{})
			b.Put(card(t, "classic-1k"))
			b.setUp()
			b.tx(spoil)
			if spoil == "02 20" {
				b.batch("08 7F|14 80|12 26|02 2C|1A 87")
				b.Sleep(2 * time.Millisecond)
			} else {
				b.send("26", 7)
			}
			b.wantReg("FIFOLevelReg", 0x94, 0)
			b.wantReg("ComIrqReg: no RxIRq", 0x88, 0x41)
		})
	}
}

func TestCardsNeedTimeAfterFieldOnAndLoseTheirStateAfterFieldOff(t *testing.T) {
	b := newBus(t, readertest.Opts{StartUp: time.Millisecond, Hold: time.Millisecond})
	c := card(t, "classic-1k")
	b.Put(c)
	b.setUp()
	for _, step := range []struct {
		off, on time.Duration
		want    string
	}{
		{5 * time.Millisecond, 5 * time.Millisecond, "IDLE"},
		{5 * time.Millisecond, 500 * time.Microsecond, "POWER-OFF"},
		{100 * time.Microsecond, 5 * time.Millisecond, "READY"}, // it held its breath
	} {
		b.send("26", 7)
		b.tx("28 80")
		b.Sleep(step.off)
		b.tx("28 83")
		b.Sleep(step.on)
		if got := c.State(); got != step.want {
			t.Errorf("field off for %v and on for %v: got %s, want %s", step.off, step.on, got, step.want)
		}
		b.Sleep(5 * time.Millisecond)
	}
}

func TestShortAnswersSetRxLastBits(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(says(4, 0x0A)) // an ACK of MIFARE
	b.setUp()
	b.want("anything", "4000", 0, "0A")
	b.wantReg("ControlReg", 0x98, 0x14)
	b.wantReg("ErrorReg", 0x8C, 0x00)
}

func TestErrorsOfReception(t *testing.T) {
	badParity := says(16, 0x04, 0x00)
	badParity.reply.Parity = []byte{0, 0}
	long := says(8*65, make([]byte, 65)...)
	for _, tc := range []struct {
		name  string
		picc  *script
		setup string
		want  byte
	}{
		{"wrong parity", badParity, "", 0x02},
		{"wrong parity that nobody checks", badParity, "3A 10", 0x00},
		{"good CRC", says(24, 0x08, 0xB6, 0xDD), "26 80", 0x00},
		{"wrong CRC", says(24, 0x08, 0xB6, 0xDE), "26 80", 0x04},
		{"too short for a CRC", says(4, 0x0A), "26 80", 0x04},
		{"three bits", says(3, 0x05), "", 0x01},
		{"more than the FIFO takes", long, "", 0x10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBus(t, readertest.Opts{})
			b.Put(tc.picc)
			b.setUp()
			if tc.setup != "" {
				b.tx(tc.setup)
			}
			b.send("3000", 0)
			b.Sleep(10 * time.Millisecond)
			b.wantReg("ErrorReg", 0x8C, tc.want)
			if got := b.reg(0x88)&0x02 != 0; got != (tc.want != 0) {
				t.Errorf("got ErrIRq %v, want %v", got, tc.want != 0)
			}
			b.tx("02 0C") // the next command clears all but BufferOvfl
			b.wantReg("ErrorReg after a command", 0x8C, tc.want&0x10)
		})
	}
}

func TestReceiverIgnoresScrapsWithRxNoErr(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(says(3, 0x05))
	b.setUp()
	b.tx("26 08")
	b.send("3000", 0)
	b.wantReg("ErrorReg", 0x8C, 0x00)
	b.wantReg("FIFOLevelReg", 0x94, 0)
	b.wantReg("Status2Reg: still waits for data", 0x90, 0x05)
}

func TestCRCCoprocessorOnTheAir(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	p := says(0)
	b.Put(p)
	b.setUp()
	b.tx("24 80") // TxCRCEn
	b.send("5000", 0)
	if len(p.heard) != 1 || fmt.Sprintf("%X", p.heard[0].Data) != "500057CD" {
		t.Errorf("got frames %X, want 500057CD", p.heard)
	}
}

func TestParityIsTheHostsWithParityDisable(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	p := says(0)
	b.Put(p)
	b.setUp()
	b.tx("3A 10")
	b.send("26 01", 1) // nine bits: 26 and parity 1
	if len(p.heard) != 1 || p.heard[0].Data[0] != 0x26 || p.heard[0].Bits != 8 || len(p.heard[0].Parity) != 1 || p.heard[0].Parity[0] != 1 {
		t.Errorf("got %+v, want 26 with parity 1", p.heard)
	}
}

func TestACardThatLeavesBreaksOffItsAnswer(t *testing.T) {
	for bit := range 16 {
		b := newBus(t, readertest.Opts{})
		p := says(16, 0x04, 0x00)
		b.Put(p)
		b.setUp()
		// 4 µs a window and 10 µs between them, then REQA and the frame delay.
		start := b.Now() + 30*time.Microsecond + 6*4*time.Microsecond + 5*10*time.Microsecond
		leave := start + etu(8) + 88790*time.Nanosecond + etu(1+bit) + time.Microsecond
		b.At(leave, func() { b.Remove(p) })
		b.send("26", 7)
		whole := bit + 1 // the bit that it left in had begun
		if bit > 8 {
			whole-- // the ninth was the parity bit
		}
		if bit == 8 {
			whole = 8
		}
		if got := int(b.reg(0x94))*8 - (8-int(b.reg(0x98)&7))%8; got != whole {
			t.Errorf("left in bit %d: got %d bits, want %d", bit, got, whole)
		}
		if p.on {
			t.Error("got a card with power outside the field")
		}
	}
}

func etu(n int) time.Duration { return time.Duration(n) * 128 * time.Second / 13_560_000 }

func TestTransmitAndReceiveAsTwoCommands(t *testing.T) {
	b := newBus(t, readertest.Opts{TransferCost: time.Microsecond})
	b.Put(says(16, 0x04, 0x00))
	b.setUp()
	b.batch("02 00|08 7F|14 80|1A 07|12 26|02 04")
	b.Sleep(76 * time.Microsecond)
	b.wantReg("ComIrqReg after Transmit", 0x88, 0x40|0x10)
	b.batch("08 7F|02 08")
	b.Sleep(time.Millisecond)
	b.wantReg("ComIrqReg after Receive", 0x88, 0x20|0x10)
	if got := b.received(); len(got) != 2 || got[0] != 4 {
		t.Errorf("got % X, want 04 00", got)
	}
}

func TestHostMayNotWriteTheFIFOWhileTheCardAnswers(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.setUp()
	b.send("26", 7)
	b.tx("12 26")
	b.wantReg("ErrorReg", 0x8C, 0x80)
}

func TestIRQPin(t *testing.T) {
	for enable := range 7 {
		if n := bits.OnesCount(uint(enable)); n > 1 {
			continue
		}
		b := newBus(t, readertest.Opts{})
		b.Put(card(t, "classic-1k"))
		b.setUp()
		pin := b.IRQPin()
		if pin.In(3, 2) != nil || !pin.Read() { // pull-up, falling edge
			t.Error("got an idle pin low, want high")
		}
		b.batch(fmt.Sprintf("02 00|08 7F|04 %02X|14 80|12 26|02 0C|1A 87", 0x80|enable<<4))
		if got, want := pin.WaitForEdge(time.Millisecond), enable&6 != 0; got != want {
			t.Errorf("ComIEnReg %02X: got an edge %v, want %v", 0x80|enable<<4, got, want)
		}
		b.Sleep(time.Millisecond)
		b.tx("08 7F")
		if !pin.Read() {
			t.Error("got the pin low after the requests were cleared, want high")
		}
	}
}
