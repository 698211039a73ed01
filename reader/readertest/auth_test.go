package readertest_test

import (
	"strings"
	"testing"
	"time"

	"badged/mifare/mifaretest"
	"badged/reader/readertest"
)

// selected is a Classic 1K, 9C599B32, in ACTIVE.
func selected(t *testing.T, o readertest.Opts) (*bus, *mifaretest.Card) {
	t.Helper()
	b := newBus(t, o)
	c := card(t, "classic-1k")
	b.Put(c)
	b.setUp()
	b.want("WUPA", "52", 7, "0400")
	b.want("SELECT", withCRC(t, "9370 9C599B326C"), 0, "08B6DD")
	return b, c
}

// authenticate runs MFAuthent with key A of block.
func (b *bus) authenticate(block, key string) {
	b.t.Helper()
	b.batch("02 00|08 7F|14 80|12 60" + block + key + "9C599B32|02 0E")
	b.Sleep(10 * time.Millisecond)
}

const transportKey = "FFFFFFFFFFFF"

func TestAuthenticateReadAndWrite(t *testing.T) {
	b, _ := selected(t, readertest.Opts{})
	b.authenticate("04", transportKey)
	b.wantReg("CommandReg: it ended", 0x82, 0x00)
	b.wantReg("ComIrqReg: Rx and Tx are blocked", 0x88, 0x14)
	b.wantReg("Status2Reg: MFCrypto1On", 0x90, 0x08)
	b.wantReg("ErrorReg", 0x8C, 0x00)
	data := "00112233445566778899AABBCCDDEEFF"
	b.want("WRITE", withCRC(t, "A004"), 0, "0A")
	b.want("data", withCRC(t, data), 0, "0A")
	b.Sleep(20 * time.Millisecond)
	b.want("READ", withCRC(t, "3004"), 0, withCRC(t, data))
	b.authenticate("08", transportKey) // nested
	b.wantReg("Status2Reg after a nested authentication", 0x90, 0x08)
	b.want("READ of another sector", withCRC(t, "3008"), 0, withCRC(t, strings.Repeat("00", 16)))
}

func TestAuthenticateWithAWrongKey(t *testing.T) {
	b, _ := selected(t, readertest.Opts{})
	b.authenticate("04", "010203040506")
	b.wantReg("CommandReg: silence ends nothing", 0x82, 0x0E)
	b.wantReg("ComIrqReg: the timer, and LoAlert when the chip took its 12 bytes", 0x88, 0x05)
	b.wantReg("Status2Reg", 0x90, 0x05)
	b.tx("12 00")
	b.wantReg("ErrorReg with WrErr", 0x8C, 0x80)
	b.tx("02 00")
	b.want("the card went to IDLE", "26", 7, "0400")
}

func TestAnAnswerThatIsNoNonceIsAProtocolError(t *testing.T) {
	b := newBus(t, readertest.Opts{})
	b.Put(says(4, 0x04)) // a NAK
	b.setUp()
	b.authenticate("04", transportKey)
	b.wantReg("ErrorReg", 0x8C, 0x01)
	b.wantReg("ComIrqReg", 0x88, 0x06)
	b.wantReg("Status2Reg", 0x90, 0x00)
}

func TestEverythingIsEncryptedWhileCrypto1IsOn(t *testing.T) {
	b, c := selected(t, readertest.Opts{})
	b.authenticate("04", transportKey)
	b.send(withCRC(t, "5000"), 0) // HLTA, encrypted
	if got := c.State(); got != "HALT" {
		t.Errorf("got %s after an encrypted HLTA, want HALT", got)
	}
	b.want("WUPA with MFCrypto1On", "52", 7, "")
	b.tx("10 00")
	b.want("WUPA with MFCrypto1On cleared", "52", 7, "0400")
}

// The chip alone makes both its frames: about 2 ms (facts of the air: 2010 µs).
func TestAuthenticationTakesItsTimeOnTheAir(t *testing.T) {
	var start, end time.Duration
	b, _ := selected(t, readertest.Opts{Trace: func(a readertest.Air) {
		if a.PCD && len(a.Frame.Data) == 4 {
			start = a.Start
		}
		end = a.End
	}})
	b.authenticate("04", transportKey)
	if got := end - start; got < 1700*time.Microsecond || got > 2100*time.Microsecond {
		t.Errorf("got %v, want about 2 ms", got)
	}
}
