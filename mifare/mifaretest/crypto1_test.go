package mifaretest_test

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"badged/mifare/mifaretest"
)

// A trace that circulates with the public Crypto1 tools: key FFFFFFFFFFFF, UID
// 9C599B32, nonce 82A4166C, then both answers.
func TestCrypto1FollowsAPublishedTrace(t *testing.T) {
	uid, nt := [4]byte{0x9C, 0x59, 0x9B, 0x32}, [4]byte{0x82, 0xA4, 0x16, 0x6C}
	c := mifaretest.NewCrypto1([6]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	for i := range nt {
		c.Byte(nt[i]^uid[i], false)
	}
	for _, v := range []byte{0xA1, 0xE4, 0x58, 0xCE} {
		c.Byte(v, true)
	}
	ar := xor(mifaretest.Successor(nt, 64), stream(c))
	if got, want := hex.EncodeToString(ar), "6eea41e0"; got != want {
		t.Errorf("got reader's answer %s, want %s", got, want)
	}
	at := xor(mifaretest.Successor(nt, 96), stream(c))
	if got, want := hex.EncodeToString(at), "5cadf439"; got != want {
		t.Errorf("got card's answer %s, want %s", got, want)
	}
}

func stream(c *mifaretest.Crypto1) []byte {
	var k []byte
	for range 4 {
		k = append(k, c.Byte(0, false))
	}
	return k
}

func xor(a [4]byte, b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(a[:])^binary.BigEndian.Uint32(b))
}

func TestCrypto1ParitySeesABitError(t *testing.T) {
	key := [6]byte{1, 2, 3, 4, 5, 6}
	plain := mifaretest.Frame{Data: []byte{0x30, 0x04, 0x26, 0xEE}, Bits: 32}
	sent := mifaretest.NewCrypto1(key).Encrypt(plain)
	got, ok := mifaretest.NewCrypto1(key).Decrypt(sent)
	if !ok || string(got.Data) != string(plain.Data) {
		t.Fatalf("got % x, %v, want % x, true", got.Data, ok, plain.Data)
	}
	sent.Data[2] ^= 0x08
	if _, ok := mifaretest.NewCrypto1(key).Decrypt(sent); ok {
		t.Error("got right parity after a bit error, want wrong")
	}
}
