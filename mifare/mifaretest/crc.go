package mifaretest

import "math/bits"

// crcA is CRC_A bit by bit (ISO/IEC 14443-3, annex B), written apart from the
// one in package mifare so that a mistake there is seen here.
func crcA(b []byte) []byte {
	reg := uint16(0x6363)
	for _, v := range b {
		for i := range 8 {
			feedback := reg&1 ^ uint16(v>>i&1)
			reg >>= 1
			if feedback == 1 {
				reg ^= 0x8408
			}
		}
	}
	return []byte{byte(reg), byte(reg >> 8)}
}

// body returns the bytes of f without CRC_A; false if f is not whole bytes or
// its CRC is wrong.
func body(f Frame) ([]byte, bool) {
	n := f.Bits/8 - 2
	if f.Bits%8 != 0 || n < 1 {
		return nil, false
	}
	crc := crcA(f.Data[:n])
	return f.Data[:n], f.Data[n] == crc[0] && f.Data[n+1] == crc[1]
}

// bytesReply is an answer of whole bytes as they are.
func bytesReply(b ...byte) Reply {
	return Reply{Frame: Frame{Data: b, Bits: 8 * len(b)}}
}

// crcReply is an answer of b and its CRC_A.
func crcReply(b ...byte) Reply {
	return bytesReply(append(b[:len(b):len(b)], crcA(b)...)...)
}

// nibbleReply is a 4-bit ACK or NAK.
func nibbleReply(v byte) Reply {
	return Reply{Frame: Frame{Data: []byte{v & 0xF}, Bits: 4}}
}

// oddParity is the bit that makes the number of ones in v and itself odd.
func oddParity(v byte) byte { return byte(bits.OnesCount8(v)+1) & 1 }

// parityGood tells whether every complete byte of f has odd parity.
func parityGood(f Frame) bool {
	if f.Parity == nil {
		return true
	}
	if len(f.Parity) < f.Bits/8 {
		return false
	}
	for i, v := range f.Data[:f.Bits/8] {
		if f.Parity[i] != oddParity(v) {
			return false
		}
	}
	return true
}
