package backend

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/gowebpki/jcs"

	"badged/uplink"
)

// firstPrev stands in a ledger's first record for the hash of the one before.
var firstPrev = strings.Repeat("0", 64)

const (
	// maxRecord is the longest message of a gateway that is taken.
	maxRecord = 64 << 10
	// maxLine is the longest line of a file.
	maxLine = 1 << 20
)

// Record is one message of a gateway as it was committed.
type Record struct {
	Gateway string          `json:"gateway"`
	Ledger  string          `json:"ledger"`
	Seq     uint64          `json:"seq"`
	Hash    string          `json:"hash"`
	Record  json.RawMessage `json:"record"` // as it was hashed
	Time    json.RawMessage `json:"time,omitempty"`
}

// formatLine is a record as a line of a file: its bytes as they were hashed.
func formatLine(rec Record) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(rec); err != nil {
		return nil, err
	}
	if b.Len() > maxLine {
		return nil, fmt.Errorf("record of %d bytes, at most %d are kept", b.Len(), maxLine)
	}
	return b.Bytes(), nil
}

// errLong is a line beyond maxLine.
var errLong = fmt.Errorf("longer than %d bytes", maxLine)

// nextLine gives the next line of a file, which holds until the next call; in has
// room for maxLine, and goes on behind a longer one. A line without its end, which is
// still being written, is io.EOF.
func nextLine(in *bufio.Reader) (line []byte, err error) {
	if line, err = in.ReadSlice('\n'); err != bufio.ErrBufferFull {
		return line, err
	}
	for err == bufio.ErrBufferFull {
		_, err = in.ReadSlice('\n')
	}
	if err != nil {
		return nil, err
	}
	return nil, errLong
}

// parseLine reads a line of a file, and makes sure that it is what was written.
func parseLine(line []byte) (Record, error) {
	var rec Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return rec, err
	}
	if sum := sha256.Sum256(rec.Record); hex.EncodeToString(sum[:]) == rec.Hash {
		return rec, checkPlace(rec)
	}
	return checkHash(rec) // once lines were not written in the form that is hashed
}

// parseRecord checks a message by itself: where it came from, and its hash.
func parseRecord(topic string, payload []byte) (Record, error) {
	gateway, leaf, ok := uplink.GatewayOf(topic)
	if !ok || leaf != "events" {
		return Record{}, errors.New("topic of no gateway's events")
	}
	if len(payload) > maxRecord {
		return Record{}, fmt.Errorf("message of %d bytes, at most %d are taken", len(payload), maxRecord)
	}
	var m struct {
		V int `json:"v"`
		Record
	}
	if err := json.Unmarshal(payload, &m); err != nil {
		return Record{}, err
	}
	m.Gateway = gateway
	if err := uplink.CheckID(m.Ledger); err != nil {
		return Record{}, fmt.Errorf("ledger: %w", err)
	}
	if m.V != 1 || m.Seq == 0 {
		return Record{}, fmt.Errorf("version %d, seq %d: want version 1 and a seq from 1", m.V, m.Seq)
	}
	rec, err := checkHash(m.Record)
	if err != nil {
		return Record{}, err
	}
	_, err = formatLine(rec)
	return rec, err
}

// checkHash makes sure of the record's own words: they are what the chain is of. It
// gives them in the form that is hashed.
func checkHash(rec Record) (Record, error) {
	canonical, err := jcs.Transform(rec.Record)
	if err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	sum := sha256.Sum256(canonical)
	if hex.EncodeToString(sum[:]) != rec.Hash {
		return Record{}, errors.New("record does not have the hash that the message says")
	}
	rec.Record = canonical
	return rec, checkPlace(rec)
}

// checkPlace compares the record's own words with those around it.
func checkPlace(rec Record) error {
	var inside struct {
		Ledger string
		Seq    uint64
	}
	if err := json.Unmarshal(rec.Record, &inside); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if inside.Ledger != rec.Ledger || inside.Seq != rec.Seq {
		return errors.New("record and message disagree on ledger or seq")
	}
	return nil
}

func prevOf(record []byte) string {
	var r struct{ Prev string }
	_ = json.Unmarshal(record, &r)
	return r.Prev
}
