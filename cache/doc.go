// Package cache keeps on disk, in two SQLite files, what the gateway must know
// without a network: List is the list of badges, which can be fetched again;
// Ledger is the billing ledger with the states of the stations, the outbox and
// the ratchets, which cannot. The one may be lost without the other.
//
// Both run in WAL mode with synchronous=FULL, asserted when they are opened
// (https://sqlite.org/pragma.html#pragma_synchronous: NORMAL may roll back after
// a power cut). What must hold wherever the power is cut:
//
//   - When Commit returns nil, its states, records and telemetry are on disk;
//     whatever else happens all of a Commit is there or nothing of it. So a
//     station's state and the records that tell of it always agree.
//   - The records of a ledger are numbered from 1 without a gap, each has the
//     hash of the one before, and none ever changes.
//   - A record goes only after the backend has committed it and its retention
//     has ended; the last record never goes.
//   - A mark (taken, committed) that was lost is an older mark: records are sent
//     twice, never not at all.
//   - A Lookup answers from one version of the list, the one it names. The
//     version in force is the old or the new one, never a mixture; a snapshot
//     that is half loaded is not looked at and goes on loading where it was.
//   - A file that is damaged or is somebody else's is put aside whole and a new one
//     is begun: Recovered says so. A list that is found damaged while it is in use
//     is replaced the same way by Rebuild, which keeps only the last one put aside.
//     Nothing else is ever deleted.
//   - A file of an earlier version of this program is brought up to date when it is
//     opened, all of it or nothing.
//
// The package returns errors and never logs. It starts no goroutines; all
// methods may be called from any goroutine.
package cache
