package provision

import (
	"bytes"
	"io"

	"badged/cmd/internal/table"
)

// plainText is what an editor or a spreadsheet has saved, as lines in UTF-8. ok is
// false for encodings where nobody can know what is meant.
func plainText(b []byte) (text []byte, ok bool) {
	text, err := io.ReadAll(table.Decode(bytes.NewReader(b)))
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), err == nil && table.IsText(text)
}
