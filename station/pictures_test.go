package station_test

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"badged/session"
	"badged/station"
)

var update = flag.Bool("update", false, "write the pictures of the display in docs/img anew")

// pictured are the signals whose display the documentation shows.
var pictured = []session.Signal{
	{Name: session.SignalReady},
	{Name: session.SignalProcessing},
	{Name: session.SignalStarted, Station: "washer"},
	{Name: session.SignalEnded, Station: "washer", Energy: 870},
	{Name: session.SignalSelected, Station: "dryer"},
	{Name: session.SignalRefused, Reason: session.StationOccupied, Station: "washer", FreeIn: 25 * time.Minute},
	{Name: session.SignalRefused, Reason: session.UnknownBadge},
	{Name: session.SignalRefused, Reason: session.BlockedBadge},
	{Name: session.SignalRefused, Reason: "DESFire"},
	{Name: session.SignalRefused, Reason: "MultipleCards"},
	{Name: session.SignalOffline},
	{Name: session.SignalFault},
}

const (
	pictureColumns = 3
	pictureZoom    = 2
	pictureGap     = 8
)

// sheet draws the displays of all pictured signals, from the pixels that the
// driver sent.
func sheet(t *testing.T, language string) *image.Paletted {
	rows := (len(pictured) + pictureColumns - 1) / pictureColumns
	cell := image.Pt(128*pictureZoom+pictureGap, 64*pictureZoom+pictureGap)
	img := image.NewPaletted(image.Rect(0, 0, pictureColumns*cell.X+pictureGap, rows*cell.Y+pictureGap),
		color.Palette{color.Gray{0x60}, color.Gray{0x08}, color.RGBA{0xC8, 0xE8, 0xFF, 0xFF}})
	for i, s := range pictured {
		s.Language = language
		cue, _ := station.Lookup(s)
		o := &oled{}
		if err := station.NewSSD1306(o).Show(cue.Text); err != nil {
			t.Fatal(err)
		}
		at := image.Pt(i%pictureColumns*cell.X+pictureGap, i/pictureColumns*cell.Y+pictureGap)
		for y := range 64 * pictureZoom {
			for x := range 128 * pictureZoom {
				on := o.ram[y/pictureZoom/8][x/pictureZoom] >> (y / pictureZoom % 8) & 1
				img.SetColorIndex(at.X+x, at.Y+y, 1+on)
			}
		}
	}
	return img
}

// The documentation's pictures are what the display really shows:
// go test ./station -run Pictures -update writes them.
func TestPicturesInTheDocs(t *testing.T) {
	for _, language := range []string{"de", "fr", "it", "en"} {
		path := filepath.Join("..", "docs", "img", fmt.Sprintf("display-%s.png", language))
		want := sheet(t, language)
		if *update {
			write(t, path, want)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := got.(*image.Paletted); !ok || p.Rect != want.Rect || !bytes.Equal(p.Pix, want.Pix) {
			t.Errorf("%s: got another picture than the display's; write it with -update", path)
		}
	}
}

func write(t *testing.T, path string, img image.Image) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
