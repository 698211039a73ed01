package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"badged/mifare"
)

// maxLine bounds a line of input; a card has some hundred bytes.
const maxLine = 64 << 10

var errLongLine = fmt.Errorf("longer than %d bytes", maxLine)

// identifyLines names a card a line. Every line that is not empty is answered by
// one line, in order, and as soon as no more input waits; one that is no card is
// answered with a refusal and why, and makes the whole fail at the end.
func identifyLines(in io.Reader, out io.Writer) error {
	r, w := bufio.NewReaderSize(in, maxLine), bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	bad, total := 0, 0
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err != nil && !errors.Is(err, errLongLine) {
			if err == io.EOF {
				err = nil
			}
			return errors.Join(err, w.Flush(), badLines(bad, total))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			answer := identifyLine(n, line, err)
			total++
			if answer.Error != "" {
				bad++
			}
			if err := enc.Encode(answer); err != nil {
				return err
			}
		}
		if r.Buffered() > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

func badLines(bad, total int) error {
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d lines were no cards: their answers have the reason in %q", bad, total, "error")
}

// readLine returns the next line, valid until the next call, the last one even
// without its end; of a line that is too long nothing but errLongLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil || err == io.EOF && len(line) > 0 {
		return line, nil
	}
	if err != bufio.ErrBufferFull {
		return nil, err
	}
	for err == bufio.ErrBufferFull {
		_, err = r.ReadSlice('\n')
	}
	return nil, errLongLine
}

func identifyLine(n int, line []byte, err error) identification {
	var o observation
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		o = observation{ID: o.ID} // half a card is none
	}
	card, cardErr := o.card()
	if err == nil {
		err = cardErr
	}
	answer := identified(o.ID, mifare.DefaultPolicy().Admit(card))
	if err != nil {
		answer.Error = fmt.Sprintf("line %d: %s", n, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return answer
}
