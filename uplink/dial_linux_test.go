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
	l, err := net.Listen("tcp", "127.0.0.1:0") // mochi-mqtt races with a connection that comes as it closes
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := uplink.Open(t.Context(), uplink.Broker{URL: "tcp://" + l.Addr().String()})
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
