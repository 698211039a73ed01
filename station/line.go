package station

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// Line is a GPIO line that the kernel has given to this process, as an output
// or as an input (Linux GPIO character device, uAPI v2). The kernel applies its
// polarity. It is safe for concurrent use, Edges from one goroutine at a time.
type Line struct {
	name string
	f    *os.File
}

var (
	_ Output = (*Line)(nil)
	_ Input  = (*Line)(nil)
)

// Set drives an output.
func (l *Line) Set(on bool) error {
	v := uapi.LineValues{Mask: 1}
	if on {
		v.Bits = 1
	}
	return l.ioctl("set", func(fd uintptr) error { return uapi.SetLineValuesV2(fd, v) })
}

// Active reads the level of an input, or the level that an output is driven to.
func (l *Line) Active() (bool, error) {
	v := uapi.LineValues{Mask: 1}
	err := l.ioctl("read", func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &v) })
	return v.Bits&1 != 0, err
}

func (l *Line) ioctl(what string, f func(fd uintptr) error) error {
	c, err := l.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("%s line %s: %w", what, l.name, err)
	}
	var ioErr error
	if err := c.Control(func(fd uintptr) { ioErr = f(fd) }); err != nil {
		return fmt.Errorf("%s line %s: %w", what, l.name, err)
	}
	if ioErr != nil {
		return fmt.Errorf("%s line %s: %w", what, l.name, ioErr)
	}
	return nil
}

// past is a read deadline that wakes a reader at once.
var past = time.Unix(1, 0)

// Edges calls f for each edge of an input until ctx ends (nil) or the line fails.
func (l *Line) Edges(ctx context.Context, f func(Edge)) error {
	if err := l.f.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("listen to line %s: %w", l.name, err)
	}
	defer context.AfterFunc(ctx, func() { l.f.SetReadDeadline(past) })()
	for ctx.Err() == nil {
		var e uapi.LineEvent
		if err := readEvent(l.f, &e); err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			return fmt.Errorf("listen to line %s: %w", l.name, err)
		}
		f(Edge{
			Active: e.ID == uapi.LineEventRisingEdge, // logical: the kernel has applied the polarity
			At:     time.Duration(e.Timestamp),
			Seq:    e.LineSeqno,
		})
	}
	return nil
}

// readEvent reads one event; the kernel never gives a part of one.
func readEvent(r io.Reader, e *uapi.LineEvent) error {
	b := make([]byte, binary.Size(e))
	if n, err := r.Read(b); err != nil {
		return err
	} else if n < len(b) {
		return fmt.Errorf("event of %d bytes, want %d: %w", n, len(b), io.ErrUnexpectedEOF)
	}
	_, err := binary.Decode(b, binary.NativeEndian, e)
	return err
}

// Close gives the line back to the kernel; what its level does then is the
// driver's business, on most boards it stays.
func (l *Line) Close() error { return l.f.Close() }
