package backend

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gowebpki/jcs"

	"badged/cmd/internal/durable"
	"badged/uplink"
)

// firstPrev stands in a ledger's first record for the hash of the one before.
var firstPrev = strings.Repeat("0", 64)

// maxRecord is the longest message of a gateway that is taken.
const maxRecord = 64 << 10

// ledgerFile is one ledger of one gateway: a line of JSON for each record, in the
// order they came. The last line may be torn by a crash and is then cut off.
type ledgerFile struct {
	gateway, ledger string
	f               *os.File
	dirty           bool
	written         time.Time         // last
	whole           []string          // hashes of seq 1, 2 … as far as the chain holds
	ahead           map[uint64]Record // after a gap
	forks           map[string]bool   // records that contradict, by seq and hash
}

func (l *ledgerFile) upTo() uint64 { return uint64(len(l.whole)) }

// hash is that of the record at upTo, empty before the first.
func (l *ledgerFile) hash() string {
	if len(l.whole) == 0 {
		return ""
	}
	return l.whole[len(l.whole)-1]
}

func ledgerPath(dir, gateway, ledger string) string {
	return filepath.Join(dir, gateway, ledger+".jsonl")
}

func newLedger(gateway, ledger string, f *os.File) *ledgerFile {
	return &ledgerFile{gateway: gateway, ledger: ledger, f: f, ahead: make(map[uint64]Record), forks: make(map[string]bool)}
}

func createLedger(dir, gateway, ledger string) (*ledgerFile, error) {
	path := ledgerPath(dir, gateway, ledger)
	if err := durable.MakeDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), f.Close())
	}
	l := newLedger(gateway, ledger, f)
	l.written = info.ModTime()
	return l, nil
}

// openLedgers reads every ledger under dir.
func openLedgers(dir string) (map[string]*ledgerFile, error) {
	paths, err := fs.Glob(os.DirFS(dir), "*/*.jsonl")
	if err != nil {
		return nil, fmt.Errorf("open ledgers: %w", err)
	}
	all := make(map[string]*ledgerFile)
	for _, path := range paths {
		gateway, file, _ := strings.Cut(path, "/")
		l, err := createLedger(dir, gateway, strings.TrimSuffix(file, ".jsonl"))
		if err != nil {
			return nil, err
		}
		all[gateway+"/"+l.ledger] = l
		if err := l.read(); err != nil {
			return nil, fmt.Errorf("read ledger %s: %w", path, err)
		}
	}
	return all, nil
}

// read learns what the file holds, and cuts off a torn end.
func (l *ledgerFile) read() error {
	in := bufio.NewReaderSize(l.f, 2*maxRecord)
	var end int64
	for line := 1; ; line++ {
		b, err := in.ReadSlice('\n')
		if err == io.EOF {
			return l.f.Truncate(end)
		}
		if err != nil {
			return err
		}
		end += int64(len(b))
		var rec Record
		if err := json.Unmarshal(b, &rec); err != nil {
			return fmt.Errorf("line %d: %w (restore the file, or move it away to receive the ledger anew)", line, err)
		}
		rec.Record = bytes.Clone(rec.Record)
		l.place(rec)
	}
}

// add appends a record that is not in the file yet. note says what is odd.
func (l *ledgerFile) add(rec Record) (note string, isNew bool, err error) {
	note, isNew = l.place(rec)
	if !isNew {
		return note, false, nil
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return note, false, fmt.Errorf("write ledger: %w", err)
	}
	l.dirty, l.written = true, time.Now()
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return note, false, fmt.Errorf("write ledger: %w", err)
	}
	return note, true, nil
}

func (l *ledgerFile) sync() error {
	if !l.dirty {
		return nil
	}
	l.dirty = false
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// place finds out where a record belongs.
func (l *ledgerFile) place(rec Record) (note string, isNew bool) {
	known := ""
	if rec.Seq <= l.upTo() {
		known = l.whole[rec.Seq-1]
	} else if a, ok := l.ahead[rec.Seq]; ok {
		known = a.Hash
	}
	switch id := fmt.Sprint(rec.Seq, rec.Hash); {
	case known == rec.Hash, l.forks[id]:
		return "", false
	case known != "":
		l.forks[id] = true
		return "another record came with a number that was given before", true
	}
	gap := len(l.ahead) == 0 && rec.Seq > l.upTo()+1
	l.ahead[rec.Seq] = rec
	if note := l.extend(); note != "" {
		return note, true
	}
	if gap {
		return "records are missing before this one", true
	}
	return "", true
}

// extend moves the whole part on as far as the chain holds.
func (l *ledgerFile) extend() (note string) {
	for {
		rec, ok := l.ahead[l.upTo()+1]
		if !ok {
			return ""
		}
		before := l.hash()
		if before == "" {
			before = firstPrev
		}
		delete(l.ahead, rec.Seq)
		if prevOf(rec.Record) != before {
			// It keeps nothing from its place: the one that does follow may still come.
			l.forks[fmt.Sprint(rec.Seq, rec.Hash)] = true
			return "a record does not follow on the one before it"
		}
		l.whole = append(l.whole, rec.Hash)
	}
}

func prevOf(record []byte) string {
	var r struct{ Prev string }
	_ = json.Unmarshal(record, &r)
	return r.Prev
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
	return m.Record, checkHash(m.Record)
}

// checkHash makes sure of the record's own words: they are what the chain is of.
func checkHash(rec Record) error {
	canonical, err := jcs.Transform(rec.Record)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	sum := sha256.Sum256(canonical)
	if hex.EncodeToString(sum[:]) != rec.Hash {
		return errors.New("record does not have the hash that the message says")
	}
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
