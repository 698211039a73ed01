package uplink

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout has the kernel give up on a peer that acknowledges nothing for
// ten seconds, whoever is writing (tcp(7), TCP_USER_TIMEOUT).
func userTimeout(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000)
	})
	if err != nil {
		return err
	}
	return failed
}
