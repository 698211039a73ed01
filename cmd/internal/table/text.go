package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Decode gives what an editor or a spreadsheet has saved, without the mark before it,
// in UTF-8: also the UTF-16 with a mark that Windows calls Unicode. What has no mark
// comes as it is: see IsText.
func Decode(r io.Reader) io.Reader {
	return transform.NewReader(r, unicode.BOMOverride(transform.Nop))
}

// IsText tells whether b is UTF-8, without what a wrong encoding leaves in it.
func IsText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 && !bytes.Contains(b, []byte(string(utf8.RuneError)))
}

// maxRow bounds a row in bytes, so that a file without an end is refused and not read.
const maxRow = 64 << 10

// lines gives text with the line ends of any system as lines that end in a line feed,
// one at each Read as far as it has room.
type lines struct {
	in    *bufio.Scanner
	n     int    // lines that were read
	begin int    // the first of the row that is read
	row   int    // bytes of that row
	line  []byte // the last
	rest  []byte // of it, to be given
}

func newLines(r io.Reader) *lines {
	l := &lines{in: bufio.NewScanner(Decode(r))}
	l.in.Buffer(nil, maxRow)
	l.in.Split(splitLine)
	return l
}

// splitLine is a bufio.SplitFunc for lines that end in LF, CRLF or, of old Macs, CR.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	end, found := len(data), 0
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		end, found = i, 1
	}
	if i := bytes.IndexByte(data[:end], '\r'); i >= 0 {
		if found = 1; i+1 == end && end < len(data) {
			found = 2
		} else if i+1 == len(data) && !atEOF {
			return 0, nil, nil // its LF may still come
		}
		end = i
	}
	if found == 0 && (!atEOF || len(data) == 0) {
		return 0, nil, nil
	}
	return end + found, data[:end], nil
}

// next reads a line, which holds until the next call, with a line feed at its end.
func (l *lines) next() ([]byte, error) {
	if l.row == 0 {
		l.begin = l.n + 1
	}
	if !l.in.Scan() {
		switch err := l.in.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, l.long()
		case err != nil:
			return nil, err
		}
		return nil, io.EOF
	}
	l.n++
	line := l.in.Bytes()
	if !IsText(line) {
		return nil, wrong{l.n, errors.New("not plain text in UTF-8; save it from the spreadsheet as CSV UTF-8")}
	}
	if l.row > 0 || len(line) > 0 {
		l.row += len(line) + 1
	}
	if l.row > maxRow {
		return nil, l.long()
	}
	l.line = append(append(l.line[:0], line...), '\n')
	l.rest = l.line
	return l.line, nil
}

func (l *lines) long() error {
	return wrong{l.begin, fmt.Errorf("a row of more than %d KiB begins here; is it the right file, and does every quotation mark have its second?", maxRow>>10)}
}

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		if _, err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}
