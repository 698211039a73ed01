// Package mifare has the words of ISO/IEC 14443-3 type A and of MIFARE: UID,
// ATQA, SAK and ATS, CRC_A, the types of cards, and which of them are admitted.
//
// A reader fills in a Card; Identify names its type from a table that is data;
// Policy.Admit turns it into a verdict with a reason. A type is what a card
// claims, never a proof: magic cards can claim anything.
//
// Nothing here knows a chip, a clock or a log.
package mifare
