package station

import (
	"os"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// FakeChip is a GPIO chip for tests of everything above the ioctls.
type FakeChip struct {
	Lines     []FakeLine
	OpenErr   error
	ReadErr   error
	GrantErr  error
	Requested []uapi.LineRequest
	Closed    int
	Granted   *os.File // what a request returns
}

// FakeLine is a line of a FakeChip.
type FakeLine struct {
	Name, Consumer string
	Used           bool
}

// FakeChips returns Chips with the chips given, called gpiochip0 and so on.
func FakeChips(chips ...*FakeChip) *Chips {
	byPath := map[string]*FakeChip{}
	var paths []string
	for i, c := range chips {
		path := "/dev/gpiochip" + string(rune('0'+i))
		paths, byPath[path] = append(paths, path), c
	}
	return &Chips{
		paths: func() []string { return paths },
		open: func(path string) (chip, error) {
			if c := byPath[path]; c.OpenErr == nil {
				return c, nil
			} else {
				return nil, c.OpenErr
			}
		},
	}
}

// NewLine returns the line behind a descriptor.
func NewLine(name string, f *os.File) *Line { return &Line{name, f} }

func (c *FakeChip) lines() (int, error) { return len(c.Lines), c.ReadErr }

func (c *FakeChip) info(i int) (info uapi.LineInfoV2, err error) {
	info.Offset = uint32(i)
	copy(info.Name[:], c.Lines[i].Name)
	copy(info.Consumer[:], c.Lines[i].Consumer)
	if c.Lines[i].Used {
		info.Flags = uapi.LineFlagV2Used
	}
	return info, nil
}

func (c *FakeChip) request(r *uapi.LineRequest) (*os.File, error) {
	c.Requested = append(c.Requested, *r)
	return c.Granted, c.GrantErr
}

func (c *FakeChip) Close() error { c.Closed++; return nil }

// Undrawn returns the letters of text that a display of 128 by 64 pixels does
// not show: those that the font lacks, and what does not fit.
func Undrawn(text string) (missing string) {
	font := parseFont()
	for _, r := range text {
		if _, ok := font[r]; !ok {
			missing += string(r)
		}
	}
	if lines, _ := wrap(text, 128/cellWidth, 64/cellHeight); len(lines) > 0 && strings.HasSuffix(lines[len(lines)-1], "…") {
		missing += "the end"
	}
	return missing
}
