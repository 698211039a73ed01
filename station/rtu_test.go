package station_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"badged/session"
	"badged/station"
)

// pty returns the device's end of a serial line and the path of the other one.
func pty(t *testing.T) (device *os.File, path string) {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo terminal on this machine: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	var unlock, n int32
	ioctl(t, f, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, f, syscall.TIOCGPTN, unsafe.Pointer(&n))
	path = fmt.Sprintf("/dev/pts/%d", n)
	// A serial line does not hang up when the bus closes it; a pty does, unless
	// somebody else has it open.
	held, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	return f, path
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	raw.Control(func(fd uintptr) { _, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)) })
	if errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}

// crc16 is the CRC of a serial frame (MODBUS over Serial Line V1.02, 6.2.2).
func crc16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, v := range b {
		crc ^= uint16(v)
		for range 8 {
			odd := crc&1 != 0
			if crc >>= 1; odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// answerRTU is a serial device that answers each read of input registers; spoil
// may damage the answer.
func answerRTU(f *os.File, r *registers, spoil func([]byte) []byte) {
	for q := make([]byte, 8); ; {
		if _, err := io.ReadFull(f, q); err != nil {
			return
		}
		words, err := r.read(q[0], binary.BigEndian.Uint16(q[2:]), binary.BigEndian.Uint16(q[4:]))
		if err != nil {
			continue // a unit that is not there says nothing
		}
		a := []byte{q[0], q[1], byte(2 * len(words))}
		for _, w := range words {
			a = binary.BigEndian.AppendUint16(a, w)
		}
		f.Write(spoil(binary.LittleEndian.AppendUint16(a, crc16(a))))
	}
}

func asIs(b []byte) []byte { return b }

// serial returns a bus on path that does not wait long.
func serial(t *testing.T, path string) *station.Bus {
	t.Helper()
	bus, err := station.NewBus(station.BusOpts{URL: "rtu://" + path, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

func TestTwoMetersOnASerialLine(t *testing.T) {
	f, path := pty(t)
	one := &registers{unit: 1}
	one.putFloat(0x48, 10)
	one.putFloat(0x0C, 230)
	go answerRTU(f, one, asIs)
	bus := serial(t, path)
	present, absent := pollBus(t, bus, "sdm120", 1), pollBus(t, bus, "sdm120", 2)
	s := until(t, present, "an answer", func(s station.Sample) bool { return s.Err == nil })
	if s.Register != session.MilliWattHours(10_000_000) || s.PowerW != 230 {
		t.Errorf("unit 1: got %+v, want 10 kWh and 230 W", s)
	}
	s = until(t, absent, "anything", func(station.Sample) bool { return true })
	if s.Err == nil || !strings.Contains(s.Err.Error(), "modbus meter 2") {
		t.Errorf("unit 2: got %+v, want an error that names it", s)
	}
}

func TestSerialLineDamagesAnswers(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"a bit":        func(b []byte) []byte { b[4] ^= 0x10; return b },
		"the CRC":      func(b []byte) []byte { b[len(b)-1]++; return b },
		"the end":      func(b []byte) []byte { return b[:len(b)-3] },
		"the length":   func(b []byte) []byte { b[2] = 0xFF; return b },
		"all of it":    func(b []byte) []byte { return []byte(strings.Repeat("\xA5", 300)) },
		"another unit": func(b []byte) []byte { b[0]++; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, path := pty(t)
			r := &registers{unit: 1}
			r.putFloat(0x48, 10)
			r.putFloat(0x0C, 230)
			go answerRTU(f, r, spoil)
			s := until(t, pollBus(t, serial(t, path), "sdm120", 1), "anything", func(station.Sample) bool { return true })
			if s.Err == nil {
				t.Errorf("got %+v, want an error", s)
			}
		})
	}
}

func TestSerialLineThatIsNotThere(t *testing.T) {
	s := until(t, pollBus(t, serial(t, "/dev/ttyUSB-none"), "sdm120", 1), "anything", func(station.Sample) bool { return true })
	if s.Err == nil || !strings.Contains(s.Err.Error(), "connect") {
		t.Errorf("got %+v, want an error that says so", s)
	}
}
