package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
)

// examined is a gateway that has nothing but a doctor.
type examined struct {
	control.Gateway
	asked  control.Examination
	checks []control.Check
}

func (g *examined) Doctor(_ context.Context, e control.Examination) ([]control.Check, error) {
	g.asked = e
	return g.checks, nil
}

// doctor runs badgectl doctor with args against a gateway that finds checks.
func doctor(t *testing.T, g *examined, args ...string) (code int, out, errOut string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- control.Serve(ctx, path, control.Handler(g, new(control.Hub))) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			break
		}
	}
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"--socket", path, "doctor"}, args...), nil, &o, &e)
	return code, o.String(), e.String()
}

func TestDoctorPrintsOneLineACheck(t *testing.T) {
	g := &examined{checks: []control.Check{
		{Name: "reader hall: chip", State: control.CheckOK, Text: "MFRC522 v2.0"},
		{Name: "reader hall: bus", State: control.CheckWarn, Text: "bursts break", Do: "mux chip select as a GPIO"},
	}}
	code, out, _ := doctor(t, g, "--reader", "hall")
	want := "ok    reader hall: chip  MFRC522 v2.0\nwarn  reader hall: bus   bursts break; mux chip select as a GPIO\n"
	if code != 0 || out != want || g.asked.Reader != "hall" || g.asked.GainSweep {
		t.Errorf("got %d, %q after %+v, want 0, %q", code, out, g.asked, want)
	}
}

func TestDoctorThatFindsAFailureFails(t *testing.T) {
	g := &examined{checks: []control.Check{{Name: "reader hall: wires", State: control.CheckFail, Text: "no SPI device", Do: "dtparam=spi=on"}}}
	code, out, errOut := doctor(t, g, "--gain-sweep", "--json")
	if code != exitFailed || !strings.Contains(out, `"state":"FAIL"`) || errOut == "" || !g.asked.GainSweep {
		t.Errorf("got %d, %q, %q after %+v, want a failure in JSON and exit code 1", code, out, errOut, g.asked)
	}
}
