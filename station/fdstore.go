package station

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// FDName is the name under which systemd keeps the descriptor of a station's
// relay while the daemon restarts. It names line and polarity too, so that a
// descriptor is not taken for the line of another configuration.
func FDName(station, line string, activeLow bool) string {
	level := "high"
	if activeLow {
		level = "low"
	}
	clean := func(r rune) rune { // sd_notify(3): FDNAME has no colon and no control characters
		if r <= ' ' || r == ':' || r > '~' {
			return '_'
		}
		return r
	}
	return strings.Map(clean, "relay-"+station+"-"+line+"-"+level)
}

// Adopt returns the outputs that systemd kept for this process under the names
// given, each driven as it was all the while. Every other descriptor that it
// kept is switched off, given up and forgotten: nobody would ever drive that
// line again. It is called once, before lines are requested.
func Adopt(names []string) (map[string]*Line, error) {
	lines := make(map[string]*Line)
	var errs []error
	for _, f := range activation.Files(true) {
		l := &Line{f.Name(), f}
		if _, twice := lines[l.name]; !twice && slices.Contains(names, l.name) {
			lines[l.name] = l
			continue
		}
		errs = append(errs, l.Set(false), Forget(l.name), l.Close())
	}
	return lines, errors.Join(errs...)
}

// Keep has systemd keep the line's descriptor under name, so that the line does
// not move while the daemon restarts, crashes or is upgraded (sd_notify(3),
// FDSTORE). Without systemd, kept is false.
func Keep(name string, l *Line) (kept bool, err error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("keep %s: %w", name, err)
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		kept, sendErr = notify("FDSTORE=1\nFDNAME="+name, int(fd))
	})
	if err = errors.Join(err, sendErr); err != nil {
		return false, fmt.Errorf("keep %s in the descriptor store: %w", name, err)
	}
	return kept, nil
}

// Forget has systemd give up the descriptor that it keeps under name, if it has
// one. Without systemd it does nothing.
func Forget(name string) error {
	_, err := notify("FDSTOREREMOVE=1\nFDNAME=" + name)
	return err
}

// notify sends state, with descriptors, to the service manager. Package net
// sends no descriptors over a connected datagram socket, hence the system call.
func notify(state string, fds ...int) (sent bool, err error) {
	addr := &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"}
	if addr.Name == "" {
		return false, nil
	}
	c, err := net.DialUnix(addr.Net, nil, addr)
	if err != nil {
		return false, err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return false, err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = syscall.Sendmsg(int(fd), []byte(state), rights, nil, 0)
		return !errors.Is(sendErr, syscall.EAGAIN)
	})
	err = errors.Join(err, sendErr)
	return err == nil, err
}
