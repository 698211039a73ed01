package uplink

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"badged/session"
)

// FirstDigest is the digest of version 0 of a list, which is empty:
// SHA-256("badged-list-1\n" ‖ list ‖ "\n" ‖ epoch), epoch in decimal digits.
func FirstDigest(list string, epoch uint64) session.Digest {
	return sha256.Sum256([]byte("badged-list-1\n" + list + "\n" + strconv.FormatUint(epoch, 10)))
}

// NextDigest is the digest of version n, given the one of version n-1 and the
// delta's payload as it was sent: SHA-256(before ‖ u64be(n) ‖ SHA-256(payload)).
func NextDigest(before session.Digest, n uint64, payload []byte) session.Digest {
	sum := sha256.Sum256(payload)
	b := append(make([]byte, 0, 72), before[:]...)
	b = binary.BigEndian.AppendUint64(b, n)
	return sha256.Sum256(append(b, sum[:]...))
}
