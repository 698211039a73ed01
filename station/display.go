package station

import (
	"fmt"
	"image"
	"strings"
	"unicode/utf8"

	"periph.io/x/conn/v3/display"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/devices/v3/ssd1306"
	"periph.io/x/devices/v3/ssd1306/image1bit"
)

// Display shows text on a small display, as large as it fits. One goroutine
// uses it.
type Display struct {
	open func() (display.Drawer, error)
	dev  display.Drawer // nil until it is open, and again after an error
	font map[rune]glyph
}

var _ Screen = (*Display)(nil)

// NewSSD1306 returns the display of 128 by 64 pixels at address 0x3C of bus. It
// is set up at the first text and again after an error, so that one that was
// unplugged comes back.
func NewSSD1306(bus i2c.Bus) *Display {
	return &Display{
		open: func() (display.Drawer, error) { return ssd1306.NewI2C(bus, &ssd1306.DefaultOpts) },
		font: parseFont(),
	}
}

// Show replaces what is on the display by text, in the middle.
func (d *Display) Show(text string) error {
	if d.dev == nil {
		dev, err := d.open()
		if err != nil {
			return fmt.Errorf("set up display: %w: check its wiring and address", err)
		}
		d.dev = dev
	}
	bounds := d.dev.Bounds()
	img := image1bit.NewVerticalLSB(bounds)
	d.draw(img, text)
	if err := d.dev.Draw(bounds, img, image.Point{}); err != nil {
		d.dev = nil
		return fmt.Errorf("draw on display: %w", err)
	}
	return nil
}

// draw writes text twice as large if it fits, else as it is; what does not fit
// even so ends in "…".
func (d *Display) draw(img *image1bit.VerticalLSB, text string) {
	size := img.Bounds().Size()
	scale := 2
	lines, fits := wrap(text, size.X/(cellWidth*scale), size.Y/(cellHeight*scale))
	if !fits {
		scale = 1
		lines, _ = wrap(text, size.X/cellWidth, size.Y/cellHeight)
	}
	y := (size.Y - len(lines)*cellHeight*scale) / 2
	for _, line := range lines {
		x := (size.X - utf8.RuneCountInString(line)*cellWidth*scale) / 2
		for _, r := range line {
			d.glyph(img, r, image.Pt(x, y), scale)
			x += cellWidth * scale
		}
		y += cellHeight * scale
	}
}

func (d *Display) glyph(img *image1bit.VerticalLSB, r rune, at image.Point, scale int) {
	g, ok := d.font[r]
	if !ok {
		g = unknown
	}
	for x, column := range g {
		for y := range cellHeight {
			if column>>y&1 == 0 {
				continue
			}
			for i := range scale * scale {
				img.SetBit(at.X+x*scale+i%scale, at.Y+y*scale+i/scale, image1bit.On)
			}
		}
	}
}

// wrap breaks text between words into at most n lines of at most width letters.
// It fits if no word was broken and nothing was left out.
func wrap(text string, width, n int) (lines []string, fits bool) {
	fits = true
	line := []rune(nil)
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) <= width {
			line = append(append(line, ' '), w...)
			continue
		}
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
		for ; len(w) > width; w = w[width:] {
			lines, fits = append(lines, string(w[:width])), false
		}
		line = w
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	if len(lines) <= n {
		return lines, fits
	}
	last := []rune(lines[n-1])
	lines[n-1] = string(last[:min(len(last), width-1)]) + "…"
	return lines[:n], false
}
