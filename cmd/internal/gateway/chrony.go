package gateway

import (
	"context"
	"math"
	"net"
	"time"

	"github.com/facebook/time/ntp/chrony"
)

// chronyAddr is where chronyd answers anybody on this host what chronyc tracking
// asks (chrony.conf: cmdport, cmdallow; both are so by default). The unit's sandbox
// lets it through, unlike adjtimex.
const chronyAddr = "127.0.0.1:323"

const (
	chronyTimeout = 200 * time.Millisecond
	// chronyLocal is the reference id of a chronyd that serves its own clock
	// (chrony.conf: local): nobody has told it the time.
	chronyLocal = 0x7F7F0101
	// chronyUnsynced is the leap status of a chronyd that is not synchronised.
	chronyUnsynced = 3
)

// chronySynced tells whether the chronyd at addr has set this host's clock by a
// source that is not the clock itself, and to within a second: it may still be
// slewing a clock that was further off.
func chronySynced(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, chronyTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(chronyTimeout)) != nil {
		return false
	}
	reply, err := (&chrony.Client{Connection: conn}).Communicate(chrony.NewTrackingPacket())
	if err != nil {
		return false // there is no chronyd, or it answers nobody
	}
	t, ok := reply.(*chrony.ReplyTracking)
	return ok && t.LeapStatus != chronyUnsynced && t.Stratum > 0 && t.RefID != 0 && t.RefID != chronyLocal &&
		math.Abs(t.CurrentCorrection) <= stepped.Seconds()
}
