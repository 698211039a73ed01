package mifaretest

// rights are what the key of the session may do with a block.
type rights struct {
	read, write         bool // data; in a trailer read means the access bits
	keyA, bits          bool // write them
	keyBRead, keyBWrite bool
}

func (r rights) writes() bool { return r.write || r.keyA || r.bits || r.keyBWrite }

// Who may: neither key, A, B, or both.
const (
	none  = 0
	byA   = 1
	byB   = 2
	byAny = 3
)

// dataAccess is read and write by C1 C2 C3 (MF1S50YYX/V1, table 8).
var dataAccess = [8][2]byte{
	0: {byAny, byAny}, 1: {byAny, none}, 2: {byAny, none}, 3: {byB, byB},
	4: {byAny, byB}, 5: {byB, none}, 6: {byAny, byB}, 7: {none, none},
}

// trailerAccess is by C1 C2 C3: write key A, read and write the access bits,
// read and write key B (MF1S50YYX/V1, table 7).
var trailerAccess = [8][5]byte{
	0: {byA, byA, none, byA, byA},
	1: {byA, byA, byA, byA, byA},
	2: {none, byA, none, byA, none},
	3: {byB, byAny, byB, none, byB},
	4: {byB, byAny, none, none, byB},
	5: {none, byAny, byB, none, none},
	6: {none, byAny, none, none, none},
	7: {none, byAny, none, none, none},
}

// rights of the session's key for block b. A key B that can be read is no key,
// and access bits without their complement lock the sector.
func (m *memory) rights(b int) rights {
	t := m.block[m.sector]
	c1, c2, c3 := t[7]>>4, t[8]&0xF, t[8]>>4
	if t[6] != ^(c2<<4|c1) || t[7]&0xF != ^c3&0xF {
		return rights{}
	}
	condition := func(group int) int {
		return int(c1>>group&1<<2 | c2>>group&1<<1 | c3>>group&1)
	}
	last := trailerAccess[condition(3)]
	key := byte(byA)
	if m.keyB {
		key = byB
	}
	if m.keyB && last[3] != none {
		return rights{}
	}
	if b == m.sector {
		return rights{keyA: last[0]&key != 0, read: last[1]&key != 0, bits: last[2]&key != 0,
			keyBRead: last[3]&key != 0, keyBWrite: last[4]&key != 0}
	}
	group := b & 3
	if b >= 128 {
		group = b & 15 / 5
	}
	d := dataAccess[condition(group)]
	return rights{read: d[0]&key != 0, write: d[1]&key != 0}
}

// visible is block b as READ shows it: key A never, key B where allowed.
func (m *memory) visible(b int, may rights) []byte {
	out := m.block[b]
	if b == m.sector {
		clear(out[:6])
		if !may.keyBRead {
			clear(out[10:])
		}
	}
	return out[:]
}

// store writes what the session's key may write of block b.
func (m *memory) store(b int, data [16]byte) {
	may, to := m.rights(b), &m.block[b]
	if may.write {
		*to = data
	}
	if may.keyA {
		copy(to[:6], data[:6])
	}
	if may.bits {
		copy(to[6:10], data[6:10])
	}
	if may.keyBWrite {
		copy(to[10:], data[10:])
	}
}
