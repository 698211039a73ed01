// Package mifaretest has virtual cards that answer frames as PICCs do.
//
// A card knows its state machine (ISO/IEC 14443-3, 6.3) and nothing of chips,
// clocks or drivers; reader/readertest puts any number of them into the field
// of an emulated MFRC522, superimposes their answers bit by bit, and gives
// frames their time on the air.
package mifaretest

import "time"

// Frame is what travels over the air in one direction between start and end of
// communication: data bits, least significant first, and a parity bit behind
// each complete byte.
type Frame struct {
	// Data has the bits in bytes; unused bits of the last byte are 0.
	Data []byte
	// Bits is the number of data bits: 7 in a short frame, 4 in an ACK or NAK,
	// else usually 8*len(Data). In a bit-oriented anticollision answer the first
	// bit sent is bit 0 of Data[0]; aligning it is the receiver's business.
	Bits int
	// Parity has one bit (0 or 1) for each complete byte of Data; nil means odd
	// parity throughout. Crypto1 encrypts it.
	Parity []byte
}

// Reply is the answer of a PICC.
type Reply struct {
	Frame
	// After is how long the card waits beyond the shortest frame delay time.
	After time.Duration
}

// PICC is a card in the field. The field calls it from one goroutine.
type PICC interface {
	// Power tells the card that the field came on (and its start-up time has
	// passed) or went off. Off forgets all state.
	Power(on bool)
	// Answer takes a frame of the PCD; false is silence.
	Answer(f Frame) (Reply, bool)
}
