package provision

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// plainText is what an editor or a spreadsheet has saved as lines in UTF-8: without
// the mark before it, and from the UTF-16 with a mark that Windows calls Unicode.
// ok is false for any other encoding, where nobody can know what is meant.
func plainText(b []byte) (text []byte, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte{0xFF, 0xFE}):
		b = fromUTF16(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte{0xFE, 0xFF}):
		b = fromUTF16(b[2:], binary.BigEndian)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 || bytes.ContainsRune(b, utf8.RuneError) {
		return nil, false
	}
	return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), true
}

// fromUTF16 leaves U+FFFD where there is half a character.
func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(b)/2+1)
	for ; len(b) > 1; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	if len(b) > 0 {
		units = append(units, utf8.RuneError)
	}
	return []byte(string(utf16.Decode(units)))
}
