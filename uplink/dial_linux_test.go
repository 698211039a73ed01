package uplink_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"badged/uplink"
)

// T7: a network that swallows every packet cannot be made on loopback without
// rights; that the kernel was told to give up on one can be seen.
func TestT7_TheKernelGivesUpOnABlackHole(t *testing.T) {
	c, err := uplink.Open(t.Context(), uplink.Broker{URL: broker(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	_ = raw.Control(func(fd uintptr) {
		got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	})
	if err != nil || got != 10_000 {
		t.Errorf("TCP_USER_TIMEOUT: got %d ms, %v, want 10000", got, err)
	}
}
