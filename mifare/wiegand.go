package mifare

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// wiegandReadings reads 26 or 34 bits with their parity, or a facility code and
// a number: 8 and 16 bits in Wiegand 26, 16 and 16 in Wiegand 34.
func wiegandReadings(text string) []Reading {
	if data, n, ok := wiegandBits(text); ok {
		return wiegand(data, n)
	}
	facility, number, ok := wiegandPair(text)
	if !ok {
		return nil
	}
	data := uint32(facility)<<16 | uint32(number)
	all := wiegand(data, 34)
	if facility < 1<<8 {
		all = append(wiegand(data, 26), all...)
	}
	return all
}

// wiegand is the reading of 24 or 32 data bits; readers send them either way
// round, and of 26 bits one byte of the UID is lost at the end.
func wiegand(data uint32, n int) []Reading {
	b := binary.BigEndian.AppendUint32(nil, data)
	if n == 34 {
		return bothWays("wiegand-34", b, false)
	}
	turned := slices.Clone(b[1:])
	slices.Reverse(turned)
	return []Reading{
		{Form: "wiegand-26", Pattern: fmt.Sprintf("%X??", b[1:])},
		{Form: "wiegand-26-reversed", Pattern: fmt.Sprintf("%X??", turned)},
	}
}

// wiegandBits takes the data out of n bits: the first half with the first bit
// has even parity, the second with the last odd.
func wiegandBits(text string) (data uint32, n int, ok bool) {
	n = len(text)
	if n != 26 && n != 34 {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(text, 2, 34)
	if err != nil {
		return 0, 0, false
	}
	half := n / 2
	first, second := v>>half, v&(1<<half-1)
	ok = bits.OnesCount64(first)%2 == 0 && bits.OnesCount64(second)%2 == 1
	return uint32(v >> 1 & (1<<(n-2) - 1)), n, ok
}

// wiegandPair cuts "123,45678", as it is printed on badges.
func wiegandPair(text string) (facility, number uint16, ok bool) {
	left, right, found := strings.Cut(text, ",")
	if !found {
		return 0, 0, false
	}
	f, err := strconv.ParseUint(strings.TrimSpace(left), 10, 16)
	n, err2 := strconv.ParseUint(strings.TrimSpace(right), 10, 16)
	return uint16(f), uint16(n), err == nil && err2 == nil
}
