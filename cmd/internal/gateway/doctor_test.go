package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
	"badged/reader/readertest"
)

// examine returns the doctor's lines, one a check.
func (h *house) examine(e control.Examination) (lines []string) {
	h.t.Helper()
	var checks []control.Check
	if err := h.ctl.Post(h.t.Context(), "/v1/doctor", e, &checks); err != nil {
		h.t.Fatal(err)
	}
	for _, c := range checks {
		lines = append(lines, fmt.Sprintf("%s %s: %s; %s", c.State, strings.TrimPrefix(c.Name, "reader hall: "), c.Text, c.Do))
		if (c.State == control.CheckOK) != (c.Do == "") {
			h.t.Errorf("got %+v, want advice if and only if not all is well", c)
		}
	}
	return lines
}

// wantLine looks for a check whose line begins with prefix and has part in it.
func wantLine(t *testing.T, lines []string, prefix, part string) {
	t.Helper()
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) && strings.Contains(l, part) {
			return
		}
	}
	t.Errorf("got\n%s\nwant a line %s… with %q", strings.Join(lines, "\n"), prefix, part)
}

func (h *house) ready() {
	h.t.Helper()
	h.start()
	h.eventually("a reader that works", func(s control.Status) bool { return len(s.Readers) > 0 && s.Readers[0].State == "ready" })
}

func TestDoctorFindsAGoodReaderWell(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nowhere)
	h.ready()
	h.hw.hold(t, "classic-1k")
	lines := h.examine(control.Examination{Reader: "hall"})
	for _, l := range lines {
		if !strings.HasPrefix(l, "ok ") {
			t.Errorf("got %s, want ok", l)
		}
	}
	wantLine(t, lines, "ok chip", "MFRC522 v2.0")
	wantLine(t, lines, "ok self test", "passed")
	wantLine(t, lines, "ok bus", "4 MHz")
	wantLine(t, lines, "ok antenna", "gain 33 dB")
	wantLine(t, lines, "ok card", "9C59…32")
	wantLine(t, lines, "ok faults", "none")
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		chip         readertest.Opts
		hurt         func(*house)
		prefix, part string
	}{
		"a clone":         {chip: readertest.Opts{Version: 0xB2}, prefix: "warn chip", part: "FM17522"},
		"no reference":    {chip: readertest.Opts{Version: 0xB2}, prefix: "warn self test", part: "no reference"},
		"broken bursts":   {hurt: func(h *house) { h.inject("burst", time.Hour) }, prefix: "warn bus", part: "dtoverlay"},
		"a dead bus":      {hurt: func(h *house) { h.inject("misoff", time.Hour) }, prefix: "FAIL self test", part: "MISO"},
		"a hot chip":      {hurt: func(h *house) { h.inject("temp", time.Hour) }, prefix: "FAIL antenna", part: "cool down"},
		"a past fault":    {hurt: func(h *house) { h.hw.chip.Inject(readertest.Fault{Kind: "antenna"}) }, prefix: "warn faults", part: "repaired by"},
		"unreadable card": {hurt: func(h *house) { h.hw.hold(h.t, "bad-bcc") }, prefix: "warn card", part: "another card"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nowhere)
			c.chip.RealTime = true
			h.hw.chip = readertest.New(c.chip)
			h.ready()
			if c.hurt != nil {
				c.hurt(h)
				time.Sleep(time.Second)
			}
			wantLine(t, h.examine(control.Examination{}), c.prefix, c.part)
		})
	}
}

func TestDoctorOfMissingWires(t *testing.T) {
	h := newHouse(t, nowhere)
	h.hw.noChip = fmt.Errorf("no SPI device on this board\nhint: put dtparam=spi=on into config.txt")
	h.deaf = true
	h.start()
	h.eventually("the reader's state", func(s control.Status) bool { return len(s.Readers) > 0 && s.Readers[0].Error != "" })
	wantLine(t, h.examine(control.Examination{}), "FAIL wires: no SPI device on this board; ", "dtparam=spi=on")
}

func TestDoctorRefusesAnUnknownReader(t *testing.T) {
	h := newHouse(t, nowhere)
	h.ready()
	err := h.ctl.Post(t.Context(), "/v1/doctor", control.Examination{Reader: "attic"}, nil)
	if err == nil || !strings.Contains(err.Error(), "there is hall") {
		t.Errorf("got %v, want the readers that there are", err)
	}
}

func TestGainSweep(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nowhere)
	h.ready()
	wantLine(t, h.examine(control.Examination{GainSweep: true}), "warn gain", "lay a card")
	h.hw.hold(t, "classic-1k")
	lines := h.examine(control.Examination{GainSweep: true})
	if len(lines) != 6 {
		t.Errorf("got %d lines, want one for each of 6 gains:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	wantLine(t, lines, "ok gain: 33 dB", "read 20 of 20 times, in force")
	h.eventually("the gain that was in force", func(s control.Status) bool { return s.Readers[0].Health.GainDB == 33 })
}
