// Package reader drives an MFRC522 (NXP data sheet, rev. 3.9) on a periph SPI
// port and tells which PICCs come into its field and leave it.
//
// Run polls with WUPA, finds every card by anticollision (ISO/IEC 14443-3,
// 6.5), asks the ones that claim ISO/IEC 14443-4 for their ATS, and keeps all
// of them in HALT, where a card neither disturbs the others nor taps twice.
// A known card is greeted by WUPA and a SELECT of its UID; only clean silence
// counts as absence.
//
// One RF frame is two transfers: one writes it in four chip-select windows and
// starts it; after the time that question and answer take on the air, the other
// reads status, FIFO and (in a poll) the configuration in one burst, and leaves
// the chip idle with an empty FIFO. There is no busy polling, no
// read-modify-write, and the chip's timer, CRC unit and IRQ pin are not needed:
// clones get them wrong, and a chip that was reset without our knowledge forgets
// them.
//
// Errors are of three kinds. Nothing there: a normal result, never seen outside.
// Try again: noise, collisions, a bad BCC or CRC; counted, the next poll comes
// anyway. Broken: a Fault; Run climbs a ladder of remedies, each bounded in
// time, and goes on probing for as long as it takes.
package reader
