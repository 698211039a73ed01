package station_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"badged/station"
)

// header is a chip with the pins of a header, as a Raspberry Pi names them.
func header() *station.FakeChip {
	c := &station.FakeChip{}
	for _, n := range []string{"ID_SDA", "", "GPIO2", "GPIO7", "GPIO17", "GPIO27"} {
		c.Lines = append(c.Lines, station.FakeLine{Name: n})
	}
	c.Lines[3] = station.FakeLine{Name: "GPIO7", Consumer: "spi0 CS1", Used: true}
	return c
}

func TestOutputIsRequestedWithItsValue(t *testing.T) {
	for name, tt := range map[string]struct {
		opts  station.OutputOpts
		flags uapi.LineFlagV2
		value uint64
	}{
		"active high, off": {station.OutputOpts{}, uapi.LineFlagV2Output, 0},
		"active high, on":  {station.OutputOpts{On: true}, uapi.LineFlagV2Output, 1},
		"active low, off":  {station.OutputOpts{ActiveLow: true}, uapi.LineFlagV2Output | uapi.LineFlagV2ActiveLow, 0},
		"active low, on":   {station.OutputOpts{ActiveLow: true, On: true}, uapi.LineFlagV2Output | uapi.LineFlagV2ActiveLow, 1},
	} {
		t.Run(name, func(t *testing.T) {
			other, c := &station.FakeChip{}, header()
			if _, err := station.FakeChips(other, c).Output("GPIO17", tt.opts); err != nil {
				t.Fatal(err)
			}
			r := c.Requested[0]
			if r.Lines != 1 || r.Offsets[0] != 4 || uapi.BytesToString(r.Consumer[:]) != "badged" {
				t.Errorf("request: got %d lines, offset %d, consumer %q, want 1, 4, badged", r.Lines, r.Offsets[0], r.Consumer)
			}
			if r.Config.Flags != tt.flags {
				t.Errorf("flags: got %#x, want %#x", r.Config.Flags, tt.flags)
			}
			a := r.Config.Attrs[0]
			if r.Config.NumAttrs != 1 || a.Attr.ID != uapi.LineAttributeIDOutputValues || a.Mask != 1 || a.Attr.Value64() != tt.value {
				t.Errorf("value: got %d attributes, %+v, want output value %d", r.Config.NumAttrs, a, tt.value)
			}
			if c.Closed != 1 || other.Closed != 1 {
				t.Errorf("chips left open: closed %d and %d times, want once each", c.Closed, other.Closed)
			}
		})
	}
}

func TestInputIsRequestedWithBothEdges(t *testing.T) {
	c := header()
	if _, err := station.FakeChips(c).Input("GPIO27", station.InputOpts{ActiveLow: true, PullUp: true}); err != nil {
		t.Fatal(err)
	}
	want := uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth | uapi.LineFlagV2ActiveLow | uapi.LineFlagV2BiasPullUp
	if got := c.Requested[0].Config.Flags; got != want {
		t.Errorf("flags: got %#x, want %#x", got, want)
	}
	if got := c.Requested[0].EventBufferSize; got < 64 {
		t.Errorf("event queue: got %d, want room for a bouncing contact", got)
	}
}

func TestRequestSaysWhatIsMissing(t *testing.T) {
	broken, old, race := header(), header(), header()
	broken.ReadErr = syscall.EIO
	old.GrantErr = syscall.ENOTTY
	race.GrantErr = syscall.EBUSY
	denied := &station.FakeChip{OpenErr: os.ErrPermission}
	for name, tt := range map[string]struct {
		chips []*station.FakeChip
		line  string
		want  []string
	}{
		"no chip":         {nil, "GPIO17", []string{"no /dev/gpiochip*", "driver"}},
		"no permission":   {[]*station.FakeChip{denied}, "GPIO17", []string{"/dev/gpiochip0", "permission denied", "group"}},
		"half permission": {[]*station.FakeChip{denied, header()}, "GPIO99", []string{"permission denied"}},
		"a slip":          {[]*station.FakeChip{header()}, "GPI017", []string{`"gpiochip0"`, `close to it are ["GPIO17"`}},
		"a bare number":   {[]*station.FakeChip{header()}, "27", []string{`"GPIO27"`}},
		"another case":    {[]*station.FakeChip{header()}, "gpio27", []string{`["GPIO27"`}},
		"nothing like it": {[]*station.FakeChip{header()}, "RELAY_A", []string{"gpioinfo"}},
		"in use":          {[]*station.FakeChip{header()}, "GPIO7", []string{`"spi0 CS1" uses it`, "another line"}},
		"taken meanwhile": {[]*station.FakeChip{race}, "GPIO17", []string{"uses it"}},
		"old kernel":      {[]*station.FakeChip{old}, "GPIO17", []string{"Linux 5.10"}},
		"broken chip":     {[]*station.FakeChip{broken}, "GPIO17", []string{"read lines of /dev/gpiochip0", "input/output error"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := station.FakeChips(tt.chips...).Output(tt.line, station.OutputOpts{})
			for _, want := range append(tt.want, "request line "+tt.line) {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			}
		})
	}
}

func TestThisMachineAnswersForARealRequest(t *testing.T) {
	if chips, _ := filepath.Glob("/dev/gpiochip*"); len(chips) > 0 {
		t.Skip("this machine has GPIO: the error of one that has none cannot be seen")
	}
	_, err := station.NewChips().Output("GPIO17", station.OutputOpts{})
	if err == nil || !strings.Contains(err.Error(), "no /dev/gpiochip*") {
		t.Errorf("got %v, want an error that says there is no GPIO", err)
	}
}

// events writes edges as the kernel does into a pipe that stands for a line.
func events(t *testing.T, es ...uapi.LineEvent) (*station.Line, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	for _, e := range es {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, e); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return station.NewLine("GPIO27", r), w
}

func TestEdgesCarryTimeLevelAndNumber(t *testing.T) {
	l, _ := events(t,
		uapi.LineEvent{Timestamp: 5e9, ID: uapi.LineEventRisingEdge, LineSeqno: 1},
		uapi.LineEvent{Timestamp: 6e9, ID: uapi.LineEventFallingEdge, LineSeqno: 9})
	ctx, stop := context.WithCancel(t.Context())
	var got []station.Edge
	err := l.Edges(ctx, func(e station.Edge) {
		if got = append(got, e); len(got) == 2 {
			stop() // while it waits for a third
		}
	})
	if err != nil {
		t.Errorf("got %v, want nil at the end of ctx", err)
	}
	want := []station.Edge{{Active: true, At: 5 * time.Second, Seq: 1}, {Active: false, At: 6 * time.Second, Seq: 9}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEdgesCanBeListenedToAgain(t *testing.T) {
	l, _ := events(t, uapi.LineEvent{LineSeqno: 1})
	ended, end := context.WithCancel(t.Context())
	end()
	if err := l.Edges(ended, nil); err != nil {
		t.Errorf("ended: got %v, want nil", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	if err := l.Edges(ctx, func(station.Edge) { n++; stop() }); err != nil || n != 1 {
		t.Errorf("again: got %d edges, %v, want 1", n, err)
	}
}

func TestEdgesEndWhenTheLineFails(t *testing.T) {
	l, w := events(t)
	w.Write([]byte{1, 2, 3}) // the kernel gives no part of an event
	if err := l.Edges(t.Context(), func(station.Edge) {}); err == nil || !strings.Contains(err.Error(), "event of 3 bytes") {
		t.Errorf("part: got %v, want an error", err)
	}
	w.Close()
	if err := l.Edges(t.Context(), func(station.Edge) {}); err == nil || !strings.Contains(err.Error(), "GPIO27") {
		t.Errorf("end: got %v, want an error that names the line", err)
	}
}

func TestLineThatIsNoneSaysSo(t *testing.T) {
	l, _ := events(t)
	if err := l.Set(true); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("set: got %v, want %v", err, syscall.ENOTTY)
	}
	if _, err := l.Active(); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("active: got %v, want %v", err, syscall.ENOTTY)
	}
	l.Close()
	if err := l.Set(true); err == nil || !strings.Contains(err.Error(), "set line GPIO27") {
		t.Errorf("closed: got %v, want an error that names the line", err)
	}
}
