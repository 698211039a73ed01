package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/config"
	"badged/session"
	"badged/station"
)

const twoMeters = houseConfig + `[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO17"
[station.meter]
type = "modbus-rtu"
address = "/dev/ttyUSB0"
unit = 1
baud = 19200
parity = "even"
model = "sdm120"
[[station]]
id = "dryer"
kind = "laundry"
reader = "hall"
relay = "GPIO18"
[station.meter]
type = "modbus-rtu"
address = "/dev/ttyUSB0"
unit = 2
baud = 19200
parity = "even"
model = "sdm120"
`

func TestMetersOnOneLineShareItsBus(t *testing.T) {
	c, err := config.Parse(strings.NewReader(twoMeters), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	washer, dryer := c.Stations[0].Meter, c.Stations[1].Meter
	if washer.Baud != 19200 || washer.Parity != "even" {
		t.Errorf("got %d baud, parity %s, want 19200 even", washer.Baud, washer.Parity)
	}
	var b buses
	defer b.close()
	one, err1 := b.of(washer)
	two, err2 := b.of(dryer)
	if err := errors.Join(err1, err2); err != nil || one != two {
		t.Errorf("got %p and %p, %v, want one bus", one, two, err)
	}
	dryer.Address = "/dev/ttyUSB1"
	if three, err := b.of(dryer); err != nil || three == one {
		t.Errorf("got %p, %v for another line, want another bus than %p", three, err, one)
	}
}

func TestDoubtfulMeterIsNotALostOne(t *testing.T) {
	c, h := boot("b", noon)
	garage := session.DefaultStation(session.Charging)
	garage.ID, garage.Reader = "garage", "hall"
	s := stuck{make(chan struct{})}
	close(s.release)
	g := &gateway{log: slog.New(slog.DiscardHandler)}
	g.ctl = session.NewController(session.Config{Stations: []session.StationConfig{garage}}, session.Deps{
		List: s, Journal: s, Clock: c.Stamp, Power: map[string]session.Power{"garage": make(contact, 100)},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.ctl.Run(ctx) }()
	w := &meterWatch{gateway: g, station: "garage"}
	for _, tc := range []struct {
		says   station.Sample
		faulty bool
	}{
		{station.Sample{Register: 1000}, false},
		{station.Sample{Register: 2000, Doubt: errors.New("chatters")}, false},
		{station.Sample{Register: 2000, Err: errors.New("gone")}, true},
		{station.Sample{Register: 3000}, false},
	} {
		h.pass(10 * time.Second)
		w.emit(tc.says)
		var got session.StationStatus
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if got = g.ctl.Status()[0]; (got.MeterFault == "gone") == tc.faulty && got.Register == tc.says.Register {
				break
			}
		}
		if (got.MeterFault == "gone") != tc.faulty || got.Register != tc.says.Register {
			t.Errorf("%+v: got fault %q, register %d, want a fault %t", tc.says, got.MeterFault, got.Register, tc.faulty)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestMetersThatCannotShareALine(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"two stations on one meter": {"unit = 2", "unit = 1", "a meter of its own"},
		"two speeds":                {"unit = 2\nbaud = 19200", "unit = 2\nbaud = 9600", "one speed"},
		"two parities":              {"unit = 2\nbaud = 19200\nparity = \"even\"", "unit = 2\nbaud = 19200", "one speed"},
		"no such speed":             {"baud = 19200", "baud = 1", "300 to 115200"},
		"no such parity":            {`parity = "even"`, `parity = "mark"`, `"none" "even" "odd"`},
		"no such unit":              {"unit = 2", "unit = 248", "1 to 247"},
		"no such meter":             {`model = "sdm120"`, `model = "sdm999"`, "unknown meter"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(twoMeters, tc.from, tc.to, 1)
			_, err := config.Parse(strings.NewReader(doc), "x.toml")
			var bad *config.Error
			if !errors.As(err, &bad) || !slices.ContainsFunc(bad.Problems, func(p config.Problem) bool { return strings.Contains(p.Text, tc.want) && p.Line > 0 }) {
				t.Errorf("got %v, want a line with %q", err, tc.want)
			}
		})
	}
}
