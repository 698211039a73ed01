package readertest_test

import (
	"testing"
	"time"

	"badged/reader/readertest"

	"periph.io/x/conn/v3/gpio"
)

// Prescaler 0A9 is 25 µs by t = (2·TPrescaler+1)·(TReload+1)/13.56 MHz.
func TestTimerCountsDownToItsInterrupt(t *testing.T) {
	for name, tc := range map[string]struct {
		version byte
		demod   string
		want    time.Duration
	}{
		"odd prescaler":                          {0x92, "4D", 10 * 339 * time.Second / 13_560_000},
		"even prescaler of version 2.0":          {0x92, "5D", 10 * 340 * time.Second / 13_560_000},
		"version 1.0 knows the odd formula only": {0x91, "5D", 10 * 339 * time.Second / 13_560_000},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, readertest.Opts{Version: tc.version})
			pin := b.IRQPin()
			pin.In(gpio.PullUp, gpio.FallingEdge)
			b.batch("08 7F|04 81|32 " + tc.demod + "|54 00|56 A9|58 00|5A 09|18 40")
			start := b.Now()
			if !pin.WaitForEdge(time.Second) {
				t.Fatal("got no edge, want TimerIRq")
			}
			if got := b.Now() - start; got < tc.want-time.Microsecond || got > tc.want+time.Microsecond {
				t.Errorf("got TimerIRq after %v, want %v", got, tc.want)
			}
			b.wantReg("Status1Reg: stopped", 0x8E, 0x31)
			b.wantReg("TCounterValReg", 0xDE, 0)
		})
	}
}

func TestTimerCanBeReadStoppedAndRepeated(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.batch("08 7F|54 00|56 A9|58 01|5A 00|18 40") // 256 ticks of 25 µs
	b.Sleep(2500*time.Microsecond - 20*time.Microsecond)
	if got := b.tx("DC DE 00"); got[1] != 0 || got[2] != 156 && got[2] != 155 {
		t.Errorf("got TCounterVal %d after 100 ticks, want 256-100 or one less", int(got[1])<<8|int(got[2]))
	}
	b.tx("18 80")
	before := b.reg(0xDE)
	b.Sleep(time.Second)
	b.wantReg("TCounterValReg of a stopped timer", 0xDE, before)
	b.wantReg("ComIrqReg of a stopped timer", 0x88, 0)
	b.batch("54 10|58 00|5A 00|18 40") // TAutoRestart, one tick of 25 µs
	b.Sleep(24 * time.Hour)
	b.wantReg("ComIrqReg after a day", 0x88, 0x01)
	b.tx("08 01")
	b.Sleep(time.Millisecond)
	b.wantReg("ComIrqReg a millisecond after it was cleared", 0x88, 0x01)
	b.wantReg("Status1Reg: still running", 0x8E, 0x29)
}

// The timer is armed by the end of the transmission, says so, and touches
// nothing else: Transceive goes on.
func TestTimerDoesNotEndTransceive(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.setUp() // 40 ticks: 1 ms
	b.send("26", 7)
	b.wantReg("ComIrqReg", 0x88, 0x40|0x01)
	b.wantReg("CommandReg", 0x82, 0x0C)
	b.wantReg("Status2Reg: waits for data", 0x90, 0x05)
}

func TestAnswerStopsTheTimer(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(card(t, "classic-1k"))
	b.setUp()
	b.send("26", 7)
	b.wantReg("ComIrqReg", 0x88, 0x40|0x20)
	if got, want := b.reg(0xDE), byte(39-5); got != want { // 136 µs after the transmission
		t.Errorf("got TCounterVal %d, want %d", got, want)
	}
}
