package station_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/simonvetter/modbus"

	"badged/session"
	"badged/station"
	"badged/station/model"
)

// registers is a Modbus device: what stands at which address.
type registers struct {
	mu   sync.Mutex
	unit uint8
	at   map[uint16]uint16
	busy int // questions to come that are refused
}

func (r *registers) read(unit uint8, address, n uint16) ([]uint16, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if unit != r.unit {
		return nil, modbus.ErrGWTargetFailedToRespond
	}
	if r.busy > 0 {
		r.busy--
		return nil, modbus.ErrServerDeviceBusy
	}
	var words []uint16
	for i := range n {
		w, ok := r.at[address+i]
		if !ok {
			return nil, modbus.ErrIllegalDataAddress
		}
		words = append(words, w)
	}
	return words, nil
}

// put writes words at address.
func (r *registers) put(address uint16, words ...uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[uint16]uint16{}
	}
	for i, w := range words {
		r.at[address+uint16(i)] = w
	}
}

func (r *registers) putFloat(address uint16, f float32) {
	b := math.Float32bits(f)
	r.put(address, uint16(b>>16), uint16(b))
}

func (r *registers) HandleCoils(*modbus.CoilsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

func (r *registers) HandleDiscreteInputs(*modbus.DiscreteInputsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

func (r *registers) HandleHoldingRegisters(q *modbus.HoldingRegistersRequest) ([]uint16, error) {
	return r.read(q.UnitId, q.Addr, q.Quantity)
}

func (r *registers) HandleInputRegisters(q *modbus.InputRegistersRequest) ([]uint16, error) {
	return r.read(q.UnitId, q.Addr, q.Quantity)
}

// freeAddress is a TCP address on this machine that nobody uses.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// device serves r at address until stop.
func device(t *testing.T, address string, r *registers) (stop func()) {
	t.Helper()
	s, err := modbus.NewServer(&modbus.ServerConfiguration{
		URL: "tcp://" + address, MaxClients: 4, Timeout: time.Minute, Logger: log.New(io.Discard, "", 0),
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { s.Stop() })
	t.Cleanup(stop)
	return stop
}

// poll runs a meter and returns its samples as they come, until the test ends.
func poll(t *testing.T, url, name string) <-chan station.Sample {
	t.Helper()
	bus, err := station.NewBus(station.BusOpts{URL: url, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return pollBus(t, bus, name, 7)
}

func pollBus(t *testing.T, bus *station.Bus, name string, unit uint8) <-chan station.Sample {
	t.Helper()
	m, err := model.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	meter, err := station.NewModbus(bus, m, station.ModbusOpts{Unit: unit, Interval: 2 * time.Millisecond, Misses: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	samples, done := make(chan station.Sample), make(chan error)
	go func() {
		done <- meter.Run(ctx, func(s station.Sample) {
			select {
			case samples <- s:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
		bus.Close()
	})
	return samples
}

// until returns the first sample that is as wanted; others may come before.
func until(t *testing.T, samples <-chan station.Sample, what string, ok func(station.Sample) bool) station.Sample {
	t.Helper()
	late := time.After(time.Minute)
	for last := (station.Sample{}); ; {
		select {
		case last = <-samples:
			if ok(last) {
				return last
			}
		case <-late:
			t.Fatalf("no sample with %s, last %+v", what, last)
		}
	}
}

func TestModbusReadsEachForm(t *testing.T) {
	for name, tt := range map[string]struct {
		model  string
		fill   func(r *registers)
		energy session.MilliWattHours
		power  float64
	}{
		"Eastron SDM630": {"sdm630", func(r *registers) { r.putFloat(0x48, 1234.5); r.putFloat(0x34, 2200) }, 1_234_500_000, 2200},
		"Eastron SDM120": {"sdm120", func(r *registers) { r.putFloat(0x48, 0.25); r.putFloat(0x0C, -3.5) }, 250_000, -3.5},
		"Schneider iEM3155": {"iem3155", func(r *registers) { r.put(0x0C83, 0, 0, 1, 2); r.putFloat(0x0BF3, 1.5) },
			65538_000, 1500},
		"low word first": {"holding:10:uint32-le:0.1kWh holding:20:int32-le:0.1W",
			func(r *registers) { r.put(10, 2, 1); r.put(20, 0xFFFF, 0xFFFF) }, 6_553_800_000, -0.1},
		"one register": {"input:1:uint16:kWh input:2:int16:W", func(r *registers) { r.put(1, 0xFFFF); r.put(2, 0xFFFE) },
			65535_000_000, -2},
	} {
		t.Run(name, func(t *testing.T) {
			r := &registers{unit: 7}
			tt.fill(r)
			address := freeAddress(t)
			device(t, address, r)
			s := until(t, poll(t, "tcp://"+address, tt.model), "an answer", func(station.Sample) bool { return true })
			if s.Err != nil || s.Register != tt.energy || !s.HasPower || math.Abs(s.PowerW-tt.power) > 1e-6 {
				t.Errorf("got %+v, want %d mWh and %g W", s, tt.energy, tt.power)
			}
		})
	}
}

func TestModbusWithoutPower(t *testing.T) {
	r := &registers{unit: 7}
	r.putFloat(0x156, 1)
	address := freeAddress(t)
	device(t, address, r)
	s := until(t, poll(t, "tcp://"+address, "input:0x156:float32:kWh"), "an answer", func(station.Sample) bool { return true })
	if s.Err != nil || s.HasPower || s.Register != 1_000_000 {
		t.Errorf("got %+v, want 1 kWh and no power", s)
	}
}

func TestModbusMeterIsLostAndBack(t *testing.T) {
	r := &registers{unit: 7}
	r.putFloat(0x48, 5)
	r.putFloat(0x0C, 100)
	address := freeAddress(t)
	stop := device(t, address, r)
	samples := poll(t, "tcp://"+address, "sdm120")
	until(t, samples, "an answer", func(s station.Sample) bool { return s.Err == nil })
	stop()
	s := until(t, samples, "an error", func(s station.Sample) bool { return s.Err != nil })
	if s.Register != 5_000_000 {
		t.Errorf("lost: got register %d, want the last known", s.Register)
	}
	r.putFloat(0x48, 6)
	device(t, address, r)
	s = until(t, samples, "an answer", func(s station.Sample) bool { return s.Err == nil })
	if s.Register != 6_000_000 {
		t.Errorf("back: got register %d, want the new one", s.Register)
	}
}

// Only misses in a row make a meter silent, however many there have been.
func TestModbusMeterThatIsOftenBusyIsNotLost(t *testing.T) {
	r := &registers{unit: 7}
	r.putFloat(0x48, 5)
	r.putFloat(0x0C, 100)
	address := freeAddress(t)
	device(t, address, r)
	bus, err := station.NewBus(station.BusOpts{URL: "tcp://" + address, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	samples := pollBus(t, bus, "sdm120", 7)
	for range 5 {
		s := until(t, samples, "an answer", func(station.Sample) bool { return true })
		if s.Err != nil {
			t.Fatalf("got %v after two misses in a row, want an answer", s.Err)
		}
		r.mu.Lock()
		r.busy = 2
		r.mu.Unlock()
	}
}

func TestModbusRefusesWhatNoMeterSays(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, tt := range map[string]struct {
		energy, power float32
		want          string
	}{
		"energy is no number":    {nan, 1, "energy register"},
		"energy is infinite":     {inf, 1, "energy register"},
		"energy is negative":     {-1, 1, "energy register"},
		"energy is absurd":       {1e20, 1, "energy register"},
		"power is no number":     {1, nan, "power of"},
		"power is a lightning's": {1, 1e12, "power of"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &registers{unit: 7}
			r.putFloat(0x48, tt.energy)
			r.putFloat(0x0C, tt.power)
			address := freeAddress(t)
			device(t, address, r)
			s := until(t, poll(t, "tcp://"+address, "sdm120"), "anything", func(station.Sample) bool { return true })
			if s.Err == nil || !strings.Contains(s.Err.Error(), tt.want) {
				t.Errorf("got %+v, want an error with %q", s, tt.want)
			}
		})
	}
}

func TestModbusSaysWhichRegisterIsNotThere(t *testing.T) {
	address := freeAddress(t)
	device(t, address, &registers{unit: 7})
	s := until(t, poll(t, "tcp://"+address, "sdm120"), "an error", func(s station.Sample) bool { return s.Err != nil })
	if want := "modbus meter 7: read energy: illegal data address"; s.Err.Error() != want {
		t.Errorf("got %q, want %q", s.Err, want)
	}
}

// TestModbusSurvivesGarbage meets devices that answer nonsense, nothing, or
// hang up: each question ends within its timeout.
func TestModbusSurvivesGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"silence":         "",
		"text":            "HTTP/1.1 400 Bad Request\r\n\r\n",
		"endless":         strings.Repeat("\xff", 1<<16),
		"length of zero":  "\x00\x01\x00\x00\x00\x00\x07",
		"too short":       "\x00\x01\x00\x00\x00\x03\x07\x04\x00",
		"wrong function":  "\x00\x01\x00\x00\x00\x07\x07\x03\x04\x00\x00\x00\x00",
		"wrong unit":      "\x00\x01\x00\x00\x00\x07\x08\x04\x04\x00\x00\x00\x00",
		"cut":             "\x00\x01\x00\x00\x00\x07\x07\x04",
		"wrong count":     "\x00\x01\x00\x00\x00\x07\x07\x04\x08\x00\x00\x00\x00",
		"two registers 3": "\x00\x01\x00\x00\x00\x09\x07\x04\x06\x00\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						for b := make([]byte, 256); ; {
							if _, err := c.Read(b); err != nil {
								return
							}
							io.WriteString(c, answer)
						}
					}()
				}
			}()
			s := until(t, poll(t, fmt.Sprintf("tcp://%s", l.Addr()), "sdm120"), "an error", func(s station.Sample) bool { return s.Err != nil })
			if s.Register != 0 {
				t.Errorf("got %+v, want no register", s)
			}
		})
	}
}

func TestNewBusAndNewModbusRefuse(t *testing.T) {
	for name, o := range map[string]station.BusOpts{
		"no scheme":      {URL: "10.0.0.7:502"},
		"unknown scheme": {URL: "http://10.0.0.7"},
		"unknown parity": {URL: "rtu:///dev/ttyUSB0", Parity: "mark"},
	} {
		if _, err := station.NewBus(o); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
	for name, o := range map[string]station.ModbusOpts{
		"unit 0":      {Unit: 0, Interval: time.Second, Misses: 3},
		"unit 248":    {Unit: 248, Interval: time.Second, Misses: 3},
		"no interval": {Unit: 1, Misses: 3},
		"no misses":   {Unit: 1, Interval: time.Second},
	} {
		if _, err := station.NewModbus(nil, model.Model{}, o); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
}
