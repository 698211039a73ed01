package station

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/warthog618/go-gpiocdev/uapi"
)

const (
	// consumer is the name under which the kernel lists our lines.
	consumer = "badged"
	// eventQueue is what the kernel keeps for us of each input's edges; its
	// default of 16 is one bouncing contact.
	eventQueue = 256
)

// Chips is the GPIO of the board as the kernel offers it (Linux GPIO character
// device, uAPI v2, since Linux 5.10). Lines are found by their name, since the
// numbers of chips change with the kernel. The zero value is not usable.
type Chips struct {
	paths func() []string
	open  func(path string) (chip, error)
}

// chip is one open GPIO chip: the thin layer that only a board can run.
type chip interface {
	lines() (int, error)
	info(offset int) (uapi.LineInfoV2, error)
	request(*uapi.LineRequest) (*os.File, error)
	Close() error
}

// NewChips returns the chips under /dev; nothing is opened yet.
func NewChips() *Chips { return &Chips{devices, openDevice} }

// OutputOpts says how an output is requested.
type OutputOpts struct {
	ActiveLow bool
	// On is the value that the request itself carries, so that the line never
	// has another one for a moment.
	On bool
}

// Output requests the line called name ("GPIO17") as an output.
func (c *Chips) Output(name string, o OutputOpts) (*Line, error) {
	r := uapi.LineRequest{Lines: 1}
	r.Config.Flags = uapi.LineFlagV2Output | activeLow(o.ActiveLow)
	var v uapi.OutputValues
	if o.On {
		v = 1 // logical: the kernel applies the polarity
	}
	r.Config.AddAttribute(uapi.LineConfigAttribute{Attr: v.Encode(), Mask: 1})
	return c.request(name, r)
}

// InputOpts says how an input is requested.
type InputOpts struct {
	ActiveLow bool
	PullUp    bool // the board's own pull-up, some 50 kΩ; else the bias stays as it is
}

// Input requests the line called name ("GPIO27") as an input with both edges.
func (c *Chips) Input(name string, o InputOpts) (*Line, error) {
	r := uapi.LineRequest{Lines: 1, EventBufferSize: eventQueue}
	r.Config.Flags = uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth | activeLow(o.ActiveLow)
	if o.PullUp {
		r.Config.Flags |= uapi.LineFlagV2BiasPullUp
	}
	return c.request(name, r)
}

func activeLow(on bool) uapi.LineFlagV2 {
	if on {
		return uapi.LineFlagV2ActiveLow
	}
	return 0
}

func (c *Chips) request(name string, r uapi.LineRequest) (*Line, error) {
	ch, info, err := c.find(name)
	if err != nil {
		return nil, fmt.Errorf("request line %s: %w", name, err)
	}
	defer ch.Close()
	if info.Flags.IsUsed() {
		return nil, fmt.Errorf("request line %s: %w", name, busy(info))
	}
	copy(r.Consumer[:len(r.Consumer)-1], consumer)
	r.Offsets[0] = info.Offset
	f, err := ch.request(&r)
	if err != nil {
		return nil, fmt.Errorf("request line %s: %w", name, explain(err, info))
	}
	return &Line{name, f}, nil
}

// find returns the open chip with the line called name, in the order of the
// chips' numbers: the first has the header's pins.
func (c *Chips) find(name string) (chip, uapi.LineInfoV2, error) {
	var s survey
	for _, path := range c.paths() {
		ch, err := c.open(path)
		if err != nil {
			s.refuse(path, err)
			continue
		}
		info, found, err := s.look(path, ch, name)
		if found {
			return ch, info, nil
		}
		ch.Close()
		if err != nil {
			return nil, info, fmt.Errorf("read lines of %s: %w", path, err)
		}
	}
	return nil, uapi.LineInfoV2{}, s.missing(name)
}

// survey is what a search saw, to say what to do when it found nothing.
type survey struct {
	chips   []string
	names   []string
	refused error
}

func (s *survey) refuse(path string, err error) {
	if s.refused == nil {
		s.refused = fmt.Errorf("open %s: %w", path, err)
	}
}

func (s *survey) look(path string, ch chip, name string) (info uapi.LineInfoV2, found bool, err error) {
	s.chips = append(s.chips, filepath.Base(path))
	n, err := ch.lines()
	for i := 0; i < n && err == nil; i++ {
		if info, err = ch.info(i); err != nil {
			break
		}
		switch s1 := uapi.BytesToString(info.Name[:]); s1 {
		case name:
			return info, true, nil
		case "":
		default:
			s.names = append(s.names, s1)
		}
	}
	return info, false, err
}

// ErrNoChip says that there is no line at all.
var ErrNoChip = errors.New("no /dev/gpiochip* here: this is no board with GPIO, or its driver is not loaded")

func (s *survey) missing(name string) error {
	switch {
	case errors.Is(s.refused, fs.ErrPermission):
		return fmt.Errorf("%w: add the user to the group of that device (gpio or badged)", s.refused)
	case s.refused != nil:
		return s.refused
	case len(s.chips) == 0:
		return ErrNoChip
	}
	if near := closest(name, s.names); len(near) > 0 {
		return fmt.Errorf("no line of that name on %q: close to it are %q", s.chips, near)
	}
	return fmt.Errorf("no line of that name on %q: gpioinfo lists what there is", s.chips)
}

func busy(info uapi.LineInfoV2) error {
	return fmt.Errorf("%q uses it: stop that, or choose another line (%w)", user(info), syscall.EBUSY)
}

func explain(err error, info uapi.LineInfoV2) error {
	switch {
	case errors.Is(err, syscall.EBUSY):
		return busy(info)
	case errors.Is(err, syscall.ENOTTY), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w: the kernel does not take the request; it needs Linux 5.10", err)
	}
	return err
}

// devices lists the chips by number, each once: some systems keep old names as links.
func devices() []string {
	all, _ := filepath.Glob("/dev/gpiochip*") // the pattern is well formed
	var paths []string
	for _, path := range all {
		if real, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(paths, real) {
			paths = append(paths, real)
		}
	}
	slices.SortFunc(paths, byNumber)
	return paths
}

// byNumber orders gpiochip2 before gpiochip10.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// device is a GPIO character device.
type device struct{ *os.File }

func openDevice(path string) (chip, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is in the caller's message
	}
	return device{f}, nil
}

func (d device) lines() (int, error) {
	i, err := uapi.GetChipInfo(d.Fd())
	return int(i.Lines), err
}

func (d device) info(offset int) (uapi.LineInfoV2, error) {
	return uapi.GetLineInfoV2(d.Fd(), offset)
}

func (d device) request(r *uapi.LineRequest) (*os.File, error) {
	if err := uapi.GetLine(d.Fd(), r); err != nil {
		return nil, err
	}
	// Non-blocking, so that reads wait in Go's poller and can be interrupted.
	if err := syscall.SetNonblock(int(r.Fd), true); err != nil {
		syscall.Close(int(r.Fd))
		return nil, err
	}
	syscall.CloseOnExec(int(r.Fd))
	return os.NewFile(uintptr(r.Fd), "gpio-line"), nil
}
