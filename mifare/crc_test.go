package mifare_test

import (
	"bytes"
	"testing"

	"badged/mifare"
)

// The vectors of ISO/IEC 14443-3, annex B, and NXP's HLTA and READ frames.
func TestCRCA(t *testing.T) {
	for name, tc := range map[string]struct{ in, want []byte }{
		"annex B, 00 00": {[]byte{0x00, 0x00}, []byte{0xA0, 0x1E}},
		"annex B, 12 34": {[]byte{0x12, 0x34}, []byte{0x26, 0xCF}},
		"HLTA":           {[]byte{0x50, 0x00}, []byte{0x57, 0xCD}},
		"READ 0":         {[]byte{0x30, 0x00}, []byte{0x02, 0xA8}},
		"nothing":        {nil, []byte{0x63, 0x63}},
	} {
		if got := mifare.CRCA(tc.in); !bytes.Equal(got[:], tc.want) {
			t.Errorf("%s: got % X, want % X", name, got, tc.want)
		}
		if tc.in == nil {
			continue
		}
		frame := mifare.AppendCRCA(tc.in)
		if body, ok := mifare.CutCRCA(frame); !ok || !bytes.Equal(body, tc.in) {
			t.Errorf("%s: got % X, %v, want the bytes back", name, body, ok)
		}
		frame[0] ^= 0x40
		if _, ok := mifare.CutCRCA(frame); ok {
			t.Errorf("%s: got a good CRC after a bit error", name)
		}
	}
}
