package mifare

// CRCA is CRC_A over b (ISO/IEC 14443-3, annex B), low byte first as it is sent.
func CRCA(b []byte) [2]byte {
	crc := uint16(0x6363)
	for _, v := range b {
		v ^= byte(crc)
		v ^= v << 4
		crc = crc>>8 ^ uint16(v)<<8 ^ uint16(v)<<3 ^ uint16(v)>>4
	}
	return [2]byte{byte(crc), byte(crc >> 8)}
}

// AppendCRCA appends CRC_A of b to b.
func AppendCRCA(b []byte) []byte {
	c := CRCA(b)
	return append(b, c[0], c[1])
}

// CutCRCA returns b without its CRC_A, and whether the CRC was right.
func CutCRCA(b []byte) ([]byte, bool) {
	if len(b) < 3 {
		return nil, false
	}
	body := b[:len(b)-2]
	return body, CRCA(body) == [2]byte(b[len(b)-2:])
}
