package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"badged/cmd/internal/config"
	"badged/session"
)

// glass is an I²C bus that notes what a display at 0x3C is sent.
type glass struct {
	*bench
	mu   sync.Mutex
	sent int
	none bool
}

func (g *glass) String() string                  { return "glass" }
func (g *glass) SetSpeed(physic.Frequency) error { return nil }

func (g *glass) Tx(addr uint16, w, _ []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if addr != 0x3C {
		return errors.New("no answer")
	}
	g.sent += len(w)
	return nil
}

func (g *glass) Display(dev string) (i2c.BusCloser, error) {
	if g.none || dev != "/dev/i2c-1" {
		return nil, errors.New("no " + dev)
	}
	return g, nil
}

func TestDisplayIsDriven(t *testing.T) {
	for name, none := range map[string]bool{"there": false, "missing": true} {
		t.Run(name, func(t *testing.T) {
			hw := &glass{bench: &bench{}, none: none}
			p := openPanel(hw, config.Config{Panel: config.Panel{Display: "/dev/i2c-1", Green: "GPIO5"}}, slog.New(slog.DiscardHandler))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			shown := func() bool {
				hw.mu.Lock()
				defer hw.mu.Unlock()
				_, moves := hw.relay() // the light
				return moves > 0 && (none || hw.sent > 128*64/8)
			}
			p.Show(session.Signal{Name: session.SignalStarted, Station: "washer"})
			for end := time.Now().Add(time.Minute); !shown(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("got nothing on light and display within a minute")
				}
			}
			stop()
			if err := <-done; err != nil {
				t.Errorf("got %v, want nil", err)
			}
		})
	}
}
