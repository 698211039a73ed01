// Package backend is the other end of a gateway: it publishes lists of badges
// and commits billing records, with files and no database. The command line and
// the desk use it; a billing company may, or may write its own from the contract
// in docs/.
//
// A Publisher's folder is the truth about a list, the broker only its cache: it
// holds the very payloads that gateways fetch, and one small file that names the
// version, replaced atomically. A Receiver's folder holds each record as it
// came, synced to disk before anything is acknowledged.
package backend
