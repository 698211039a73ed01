package readertest_test

import (
	"reflect"
	"testing"
	"time"

	"badged/reader/readertest"
)

// hurt is a chip with a card, set up, with f to come.
func hurt(t *testing.T, f readertest.Fault) *bus {
	t.Helper()
	b := newBus(t, readertest.Opts{})
	b.Put(card(t, "classic-1k"))
	b.setUp()
	b.Inject(f)
	return b
}

func TestFaultsShowInTheRegisters(t *testing.T) {
	for _, tc := range []struct {
		kind           readertest.FaultKind
		addr           byte
		during, behind byte // what the register says
	}{
		{readertest.FaultMISO00, 0xEE, 0x00, 0x92},
		{readertest.FaultMISOFF, 0xEE, 0xFF, 0x92},
		{readertest.FaultVersion, 0xEE, 0xB2, 0x92},
		{readertest.FaultStuckCrypto, 0x90, 0x08, 0x08},
		{readertest.FaultAntennaOff, 0xA8, 0x80, 0x80},
		{readertest.FaultTempErr, 0x8C, 0x40, 0x40},
		{readertest.FaultReset, 0xA8, 0x00, 0x80}, // starts up, then reset values
	} {
		b := hurt(t, readertest.Fault{Kind: tc.kind, At: 2, Value: 0xB2})
		before := b.reg(tc.addr)
		b.wantReg(string(tc.kind)+" one transfer too early", tc.addr, before)
		b.wantReg(string(tc.kind), tc.addr, tc.during)
		b.Sleep(time.Millisecond)
		b.wantReg(string(tc.kind)+" afterwards", tc.addr, tc.behind)
	}
}

func TestFaultsSilenceTheCard(t *testing.T) {
	for _, kind := range []readertest.FaultKind{
		readertest.FaultReset, readertest.FaultStuckCrypto, readertest.FaultAntennaOff, readertest.FaultTempErr,
	} {
		b := hurt(t, readertest.Fault{Kind: kind})
		b.want("REQA after "+string(kind), "26", 7, "")
		b.tx("10 80") // MFCrypto1On off, TempSensClear
		b.setUp()
		b.Sleep(10 * time.Millisecond)
		b.want("WUPA after recovery from "+string(kind), "52", 7, "0400")
		b.wantReg("ErrorReg after recovery from "+string(kind), 0x8C, 0)
	}
}

// A reset does not cool the chip down: its drivers go off again, and it says so.
func TestHeatOutlastsAReset(t *testing.T) {
	b := hurt(t, readertest.Fault{Kind: readertest.FaultTempErr, For: 20 * time.Millisecond})
	b.tx("02 0F")
	b.Sleep(time.Millisecond)
	b.setUp()
	b.tx("10 80")
	b.wantReg("ErrorReg after a reset", 0x8C, 0x40)
	b.wantReg("TxControlReg after a reset", 0xA8, 0x80)
	b.Sleep(20 * time.Millisecond)
	b.wantReg("ErrorReg when it is cool", 0x8C, 0x40)
	b.tx("10 80")
	b.wantReg("ErrorReg after TempSensClear", 0x8C, 0)
	b.tx("28 83")
	b.Sleep(10 * time.Millisecond)
	b.want("REQA when the antenna is on again", "26", 7, "0400")
}

func TestEIO(t *testing.T) {
	b := hurt(t, readertest.Fault{Kind: readertest.FaultEIO, Count: 2})
	for i, want := range []bool{true, true, false} {
		if err := b.conn.Tx([]byte{0x16, byte(i)}, nil); (err != nil) != want {
			t.Errorf("transfer %d: got error %v, want one: %v", i, err, want)
		}
	}
	b.wantReg("WaterLevelReg", 0x96, 2)
}

func TestDeadTimer(t *testing.T) {
	b := hurt(t, readertest.Fault{Kind: readertest.FaultDeadTimer, For: time.Second})
	b.batch("08 7F|18 40")
	b.Sleep(500 * time.Millisecond)
	b.wantReg("ComIrqReg", 0x88, 0)
	b.Sleep(time.Second)
	b.batch("08 7F|18 40")
	b.Sleep(500 * time.Millisecond)
	b.wantReg("ComIrqReg when it lives again", 0x88, 1)
}

func TestBrokenBurst(t *testing.T) {
	b := hurt(t, readertest.Fault{Kind: readertest.FaultBurstBroken, Count: 2})
	b.wantReg("single read", 0xEE, 0x92)
	if got := b.tx("EE EE EE 00"); got[1] != 0x92 || got[2] == 0x92 || got[3] == 0x92 {
		t.Errorf("got % X, want the first byte right and the others wrong", got[1:])
	}
}

func TestNoiseWithAndWithoutACard(t *testing.T) {
	b := hurt(t, readertest.Fault{Kind: readertest.FaultNoise, Count: 1 << 20, Rate: 1, Seed: 9})
	errors := 0
	for range 50 {
		b.send("52", 7)
		if b.reg(0x8C) != 0 {
			errors++
		}
		b.received()
	}
	if errors < 30 { // some bursts come after the answer
		t.Errorf("got errors in %d of 50 frames, want most", errors)
	}
	b.Clear()
	b.send("9320", 0) // back to IDLE, whatever state it was in
	b.send("9320", 0)
	b.want("WUPA when it is quiet", "52", 7, "0400")
}

func TestBitFlipsAreTheSameForTheSameSeed(t *testing.T) {
	read := func(seed uint64) (got []byte) {
		b := hurt(t, readertest.Fault{Kind: readertest.FaultBitFlips, Count: 100, Seed: seed})
		for range 100 {
			got = append(got, b.reg(0xEE))
		}
		return got
	}
	a, b, c := read(1), read(1), read(2)
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Error("got flips that do not follow the seed")
	}
}

func TestParseFault(t *testing.T) {
	for _, name := range []string{"reset", "miso00", "misoff", "flips", "eio", "crypto", "antenna", "temp", "timer", "noise", "burst", "version"} {
		if f, err := readertest.ParseFault(name); err != nil || string(f.Kind) != name {
			t.Errorf("got %v, %v for %q", f, err, name)
		}
	}
	if _, err := readertest.ParseFault("flood"); err == nil {
		t.Error("got no error for an unknown fault")
	}
}

func TestRandomSchedules(t *testing.T) {
	a, b := readertest.Faults(7, 200), readertest.Faults(7, 200)
	if !reflect.DeepEqual(a, b) {
		t.Error("got two schedules from one seed")
	}
	kinds := map[readertest.FaultKind]bool{}
	for _, f := range a {
		kinds[f.Kind] = true
		if f.At+f.Count > 200*200 {
			t.Errorf("got a fault until transfer %d, want all over by %d", f.At+f.Count, 200*200)
		}
	}
	if len(kinds) != 12 {
		t.Errorf("got %d kinds, want 12", len(kinds))
	}
}
