package station_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"badged/session"
	"badged/station"
)

// oled is an SSD1306 on an I²C bus as its data sheet has it (rev. 1.1, 8.1.5,
// 10.1): control byte, column and page window, horizontal addressing.
type oled struct {
	ram                       [8][128]byte
	col, firstCol, lastCol    int
	page, firstPage, lastPage int
	err                       error
	inits                     int
}

var _ i2c.Bus = (*oled)(nil)

func (o *oled) String() string                  { return "oled" }
func (o *oled) SetSpeed(physic.Frequency) error { return nil }

func (o *oled) Tx(addr uint16, w, r []byte) error {
	switch {
	case o.err != nil:
		return o.err
	case addr != 0x3C:
		return errors.New("no answer")
	case w[0] == 0x00:
		o.commands(w[1:])
	case w[0] == 0x40:
		for _, b := range w[1:] {
			o.data(b)
		}
	}
	return nil
}

// operands has the commands with operands, of those that a driver may send.
var operands = map[byte]int{0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0x8D: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1}

func (o *oled) commands(b []byte) {
	for len(b) > 0 {
		n := operands[b[0]]
		switch c := b[0]; {
		case c == 0x21:
			o.firstCol, o.lastCol, o.col = int(b[1]), int(b[2]), int(b[1])
		case c == 0x22:
			o.firstPage, o.lastPage, o.page = int(b[1]), int(b[2]), int(b[1])
		case c == 0x8D:
			o.inits++
		// The pointers of page addressing, which periph sets in horizontal
		// addressing too; the chips in use take them there.
		case c < 0x10:
			o.col = o.col&^0x0F | int(c)
		case c < 0x20:
			o.col = o.col&0x0F | int(c&0x0F)<<4
		case c&^0x07 == 0xB0:
			o.page = int(c & 0x07)
		}
		b = b[1+n:]
	}
}

func (o *oled) data(b byte) {
	o.ram[o.page][o.col] = b
	if o.col++; o.col > o.lastCol {
		o.col = o.firstCol
		if o.page++; o.page > o.lastPage {
			o.page = o.firstPage
		}
	}
}

// picture is what people see, without empty rows and columns around it.
func (o *oled) picture() string {
	var rows []string
	left := 128
	for y := range 64 {
		var row strings.Builder
		for x := range 128 {
			c := byte('.')
			if o.ram[y/8][x]>>(y%8)&1 != 0 {
				c, left = '#', min(left, x)
			}
			row.WriteByte(c)
		}
		rows = append(rows, row.String())
	}
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i][min(left, 127):], ".")
	}
	return strings.Trim(strings.Join(rows, "\n"), "\n")
}

func TestDisplayDrawsUmlautsAndAccents(t *testing.T) {
	o := &oled{}
	d := station.NewSSD1306(o)
	// Long enough for the small letters.
	if err := d.Show("ÄöÉèçßì xxxxxxxxxxxx xxxxxxxxxxx xxxxxxxxxxx xxxxxxxxxxx"); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(o.picture(), "\n")[:10]
	for i, row := range got {
		got[i] = strings.TrimRight((row + strings.Repeat(".", 42))[:42], ".")
	}
	want := strings.Trim(`
.#.#...........#
..............#
.###...#.#..#####..#...........##....#
#...#.......#.......#.........#..#....#
#...#..###..#......###...###..#..#...##
#...#.#...#.####..#...#.#...#.#.#.....#
#####.#...#.#.....#####.#.....#..#....#
#...#.#...#.#.....#.....#...#.#..#....#
#...#..###..#####..####..###..#.#....###
..........................##
`, "\n")
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestDisplayDrawsShortTextsLarge(t *testing.T) {
	small, large := &oled{}, &oled{}
	if err := station.NewSSD1306(small).Show("H " + strings.Repeat("HHHHHHHHHHH ", 3)); err != nil {
		t.Fatal(err)
	}
	if err := station.NewSSD1306(large).Show("H"); err != nil {
		t.Fatal(err)
	}
	want := strings.Trim(strings.Repeat("##......##\n", 6)+strings.Repeat("##########\n", 2)+strings.Repeat("##......##\n", 6), "\n")
	if got := large.picture(); got != want {
		t.Errorf("large: got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Split(small.picture(), "\n")[0]; strings.Contains(got, "##") {
		t.Errorf("small: got a first row %q, want single pixels", got)
	}
}

func TestDisplayReplacesTheTextBefore(t *testing.T) {
	o, fresh := &oled{}, &oled{}
	d := station.NewSSD1306(o)
	for _, text := range []string{"washer finished: 1.23 kWh", "Badge"} {
		if err := d.Show(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := station.NewSSD1306(fresh).Show("Badge"); err != nil {
		t.Fatal(err)
	}
	if o.ram != fresh.ram {
		t.Errorf("got\n%s\nwant\n%s", o.picture(), fresh.picture())
	}
}

func TestDisplayComesBack(t *testing.T) {
	o := &oled{err: errors.New("no answer")}
	d := station.NewSSD1306(o)
	if err := d.Show("one"); err == nil || !strings.Contains(err.Error(), "check its wiring") {
		t.Errorf("unplugged: got %v, want an error with advice", err)
	}
	o.err = nil
	if err := d.Show("one"); err != nil {
		t.Errorf("plugged: got %v, want nil", err)
	}
	o.err = errors.New("no answer")
	if err := d.Show("two"); err == nil {
		t.Error("unplugged again: got nil, want an error")
	}
	o.err, o.ram = nil, [8][128]byte{} // another one in its place
	if err := d.Show("two"); err != nil || o.inits != 2 {
		t.Errorf("another: got %v after %d set-ups, want nil after 2", err, o.inits)
	}
	if o.picture() == "" {
		t.Error("another: got nothing on it, want the text")
	}
}

// TestEveryTextCanBeDrawn looks for boxes, which stand for letters that the font
// lacks, and for texts that are cut.
func TestEveryTextCanBeDrawn(t *testing.T) {
	for _, name := range []session.SignalName{session.SignalReady, session.SignalOffline, session.SignalFault,
		session.SignalProcessing, session.SignalBlink, session.SignalEnrolled, session.SignalStarted, session.SignalEnded, session.SignalSelected, session.SignalTest, session.SignalProvisioned, session.SignalNotProvisioned, session.SignalRefused} {
		for _, reason := range append(session.Reasons(), "") {
			for _, language := range []string{"de", "fr", "it", "en"} {
				cue, _ := station.Lookup(session.Signal{Name: name, Reason: reason, Language: language,
					Station: "waschmaschine-12", Energy: 123456, FreeIn: 100 * time.Minute})
				if missing := station.Undrawn(cue.Text); missing != "" {
					t.Errorf("%s %s %s: got %q undrawn of %q, want nothing", name, reason, language, missing, cue.Text)
				}
			}
		}
	}
}

func TestDisplaySurvivesAnyText(t *testing.T) {
	for _, text := range []string{"", " ", "\x00\xff", "日本語", strings.Repeat("x", 1000), strings.Repeat("word ", 1000)} {
		if err := station.NewSSD1306(&oled{}).Show(text); err != nil {
			t.Errorf("%.20q: got %v, want nil", text, err)
		}
	}
}
