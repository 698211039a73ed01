// Package readertest is an MFRC522 at register level: an SPI port, a reset pin
// and an IRQ pin in front, an RF field with virtual cards behind.
//
// It is written from the data sheet (MFRC522 rev. 3.9) and ISO/IEC 14443, and
// must never import a driver: a register address that both got wrong would be
// invisible.
//
//   - Every byte on the SPI bus and every bit on the air takes its time. Time is
//     virtual unless Opts says otherwise: it passes only in transfers, in Sleep
//     and in WaitForEdge, so one goroutine sees the same microseconds every run.
//   - Answers of several PICCs are superimposed half bit by half bit, as they
//     are on the air; collisions, parity errors and frames that break off
//     because a card left come out of that.
//   - What the data sheet forbids is a violation, counted and reported.
//   - Faults (Inject) do to the chip what the field does to it.
//
// Chips may be used from any goroutine. Functions given to At run while a
// transfer is in progress; they may call Put, Remove, At, Now, Inject and Clear,
// nothing else of the chip.
package readertest
