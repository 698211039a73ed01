package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
	"badged/session"
)

// examined is a gateway that has nothing but a doctor.
type examined struct {
	control.Gateway
	asked   control.Examination
	checks  []control.Check
	records []json.RawMessage
	tested  []string
	refuses error // of a test
}

func (g *examined) Status() any {
	return control.Status{Gateway: "gw-0042", Stations: []session.StationStatus{{ID: "washer"}, {ID: "garage-17"}}}
}

func (g *examined) Records(context.Context) ([]json.RawMessage, error) { return g.records, nil }

func (g *examined) TestRelay(_ context.Context, id string) error {
	g.tested = append(g.tested, id)
	return g.refuses
}

func (g *examined) Doctor(_ context.Context, e control.Examination) ([]control.Check, error) {
	g.asked = e
	return g.checks, nil
}

// doctor runs badgectl doctor with args against a gateway that finds checks.
func doctor(t *testing.T, g *examined, args ...string) (code int, out, errOut string) {
	t.Helper()
	return doctorHears(t, g, "", args...)
}

// doctorHears is doctor with what somebody types.
func doctorHears(t *testing.T, g *examined, typed string, args ...string) (code int, out, errOut string) {
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
	code = run(t.Context(), append([]string{"--socket", path, "doctor"}, args...), strings.NewReader(typed), &o, &e)
	return code, o.String(), e.String()
}

func TestDoctorPrintsOneLineACheck(t *testing.T) {
	g := &examined{checks: []control.Check{
		{Name: "reader hall: chip", State: control.CheckOK, Text: "MFRC522 v2.0"},
		{Name: "reader hall: bus", State: control.CheckWarn, Text: "bursts break", Do: "mux chip select as a GPIO"},
	}}
	code, out, _ := doctor(t, g, "--reader", "hall")
	want := "ok    reader hall: chip  MFRC522 v2.0\nwarn  reader hall: bus   bursts break -> mux chip select as a GPIO\n"
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

func TestDoctorAsksBeforeARelayClicks(t *testing.T) {
	for name, c := range map[string]struct {
		typed   string
		refuses error
		tested  string
		code    int
		says    string
	}{
		"one seen, one left": {"y\ny\nn\n", nil, "washer", 0, "ok  station washer: relay tried  it closes and opens\n"},
		"not seen":           {"yes\nno\n\n", nil, "washer", exitFailed, "check the supply of the relay board"},
		"nobody there":       {"", nil, "", 0, ""},
		"in a session":       {"n\ny\n", errors.New("the relay stays as it is: StationOccupied"), "garage-17", exitFailed, "StationOccupied -> end the session first"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &examined{refuses: c.refuses}
			code, out, errOut := doctorHears(t, g, c.typed, "--relays")
			if code != c.code || !strings.Contains(out, c.says) || strings.Join(g.tested, " ") != c.tested || !strings.Contains(errOut, "close its relay for two seconds?") {
				t.Errorf("got %d, %q, %q, tested %v, want %d, %q, %s", code, out, errOut, g.tested, c.code, c.says, c.tested)
			}
		})
	}
}

func TestDoctorWithoutAGatewayLooksAtTheBoard(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = \"--config $CONFIG --examine\" ] || exit 2\n" +
		`echo '[{"name":"config","state":"FAIL","text":"x.toml:3: gateway.id: missing","do":"mend it"}]'` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "badged"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CONFIG", filepath.Join(dir, "x.toml"))
	out, _, code := badgectl(t, "--socket", filepath.Join(dir, "none.sock"), "doctor", "--config", os.Getenv("CONFIG"))
	if code != exitFailed || !strings.Contains(out, "FAIL  daemon  badged does not run: nothing listens at") || !strings.Contains(out, "sudo systemctl start badged") ||
		!strings.Contains(out, "FAIL  config  x.toml:3: gateway.id: missing -> mend it") {
		t.Errorf("got %d, %s, want what the board says though nothing runs", code, out)
	}
	t.Setenv("PATH", t.TempDir())
	out, _, code = badgectl(t, "--socket", filepath.Join(dir, "none.sock"), "doctor")
	if code != exitFailed || !strings.Contains(out, "FAIL  board") || !strings.Contains(out, "dpkg --verify badged") {
		t.Errorf("got %d, %s, want it said that the daemon's program is missing", code, out)
	}
}

func TestReportIsForThePapers(t *testing.T) {
	g := &examined{checks: []control.Check{{Name: "clock", State: control.CheckWarn, Text: "not set", Do: "check the network"}}}
	code, out, _ := doctor(t, g, "--report")
	for _, want := range []string{"COMMISSIONING REPORT", "gw-0042", "station washer", "warn  clock  not set -> check the network", "0 checks are ok, 1 want a look, 0 failed.", "Signature: ___"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("got %d, %s, want %q", code, out, want)
		}
	}
}

// Root reads what the gateway may not, and would find all well.
func TestBoardIsExaminedAsTheDaemonsUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	as, err := daemonUser(0, nobody.Username)
	if err != nil || as == nil || as.Uid != number(nobody.Uid) || len(as.Groups) == 0 || slices.Contains(as.Groups, 0) {
		t.Errorf("got %+v, %v, want the user and its groups", as, err)
	}
	if as, err := daemonUser(1000, nobody.Username); as != nil || err == nil || !strings.Contains(err.Error(), "hint: sudo badgectl doctor") {
		t.Errorf("got %+v, %v of who is not root, want a hint", as, err)
	}
	if as, err := daemonUser(1000, "no-such-user"); as != nil || err != nil {
		t.Errorf("got %+v, %v at a desk, want who asks", as, err)
	}
}
