package station

import (
	_ "embed" // font.txt
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed font.txt
var fontText string

// The cell of a glyph, in pixels: five columns and a gap; two rows for the marks
// of capitals, seven, and one for descenders.
const (
	cellWidth  = 6
	cellHeight = 10
)

// glyph has a cell's columns, each with its top row in the lowest bit.
type glyph [cellWidth - 1]uint16

// unknown stands for what the font does not have: a box.
var unknown = glyph{0x7F << 2, 0x41 << 2, 0x41 << 2, 0x41 << 2, 0x7F << 2}

// parseFont reads font.txt. A letter with a mark comes after both.
func parseFont() map[rune]glyph {
	font := map[rune]glyph{' ': {}}
	for line := range strings.Lines(fontText) {
		f := strings.Fields(line)
		switch {
		case len(f) == 6:
			font[first(f[0])] = parseGlyph(f[1:])
		case len(f) == 4 && f[1] == "=":
			font[first(f[0])] = compose(font, first(f[2]), first(f[3]))
		}
	}
	return font
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func parseGlyph(columns []string) (g glyph) {
	for i, c := range columns {
		b, _ := strconv.ParseUint(c, 16, 8) // a test reads every glyph
		g[i] = uint16(b) << 2
	}
	return g
}

// compose puts a mark above a letter: over the cell's first rows for a capital,
// just above a small letter.
func compose(font map[rune]glyph, letter, mark rune) glyph {
	g := font[letter]
	for i, c := range font[mark] {
		if unicode.IsUpper(letter) {
			c >>= 2
		}
		g[i] |= c
	}
	return g
}
