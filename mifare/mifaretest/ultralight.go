package mifaretest

// ack and nak are the 4-bit answers of MIFARE (MF1S50YYX, 10.1; MF0ICU1, 7.6).
const (
	ack        = 0xA
	nakInvalid = 0x0 // not allowed or not known
	nakCheck   = 0x1 // parity or CRC
)

// newPages lays out pages 0 to 2 as an Ultralight does; nil without pages.
func newPages(n int, uid []byte) []byte {
	if n < 4 || len(uid) != 7 {
		return nil
	}
	p := make([]byte, 4*n)
	copy(p, uid[:3])
	p[3] = ct ^ uid[0] ^ uid[1] ^ uid[2]
	copy(p[4:], uid[3:])
	p[8] = uid[3] ^ uid[4] ^ uid[5] ^ uid[6]
	return p
}

// ultralight answers READ, WRITE and GET_VERSION in ACTIVE. A NAK ends ACTIVE.
func (c *Card) ultralight(b []byte) (Reply, bool) {
	total := len(c.pages) / 4
	switch {
	case len(b) == 2 && b[0] == 0x30 && int(b[1]) < total:
		from := 4 * int(b[1])
		out := append(append([]byte(nil), c.pages[from:]...), c.pages...) // READ rolls over
		for len(out) < 16 {
			out = append(out, c.pages...)
		}
		return crcReply(out[:16]...), true
	case len(b) == 6 && b[0] == 0xA2 && b[1] >= 4 && int(b[1]) < total:
		copy(c.pages[4*int(b[1]):], b[2:])
		return nibbleReply(ack), true
	case len(b) == 1 && b[0] == 0x60 && len(c.spec.Version) == 8:
		return crcReply(c.spec.Version...), true
	case b[0] == 0xE0:
		return c.wrong() // RATS of a reader that asks everybody: silence
	}
	c.wrong()
	return nibbleReply(nakInvalid), true
}
