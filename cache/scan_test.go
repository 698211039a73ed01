package cache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"badged/session"
)

var scanSeed = flag.Uint64("scan.seed", 2, "seed of the pages that are overwritten in a ledger")

// made is a ledger's files with the records that it had, of which the backend has
// the first ten.
type made struct {
	db, log []byte
	records []session.Message
}

// make makes a ledger of n records. With a log it is one that was never closed.
func makeLedger(t *testing.T, n int, log bool) made {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	commit(t, l, n)
	m := made{records: unsent(t, l, n+1)}
	if err := l.Acknowledge(t.Context(), m.records[9].Ledger, 10, m.records[9].Hash); err != nil {
		t.Fatal(err)
	}
	if log {
		m.log = read(t, path+"-wal")
	} else {
		l.Close()
	}
	m.db = read(t, path)
	return m
}

// put writes the files of m into a new folder.
func (m made) put(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ledger.db")
	write(t, path, m.db)
	if m.log != nil {
		write(t, path+"-wal", m.log)
	}
	return path
}

// back opens what is left of m and tells which of its records are in the ledger
// that takes its place, by number. Any other record is an error.
func (m made) back(t *testing.T, path string) (seqs []int) {
	t.Helper()
	l := openLedger(t, path, opts)
	defer l.Close()
	all, err := allRecords(context.Background(), l)
	if err == nil {
		err = chained(all)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range all[1:] {
		var is struct {
			Carried struct {
				Seq  int
				Hash string
			}
		}
		if err := json.Unmarshal(got.Record, &is); err != nil {
			t.Fatal(err)
		}
		seq := is.Carried.Seq
		if seq < 1 || seq > len(m.records) || m.records[seq-1].Hash != is.Carried.Hash {
			t.Errorf("got %s, want only records that were made", got.Record)
		}
		if seqs = append(seqs, seq); len(seqs) > 1 && seqs[len(seqs)-2] >= seq {
			t.Errorf("got records in the order %d", seqs)
		}
	}
	return seqs
}

// whole are the unacknowledged records that stand in the files, by number.
func (m made) whole() (seqs []int) {
	for i, r := range m.records[10:] {
		if bytes.Contains(m.db, r.Record) || bytes.Contains(m.log, r.Record) {
			seqs = append(seqs, 11+i)
		}
	}
	return seqs
}

// spoilt overwrites pages of the file with rubbish.
func (m made) spoilt(rnd *rand.Rand, pages ...int) made {
	m.db = bytes.Clone(m.db)
	for _, page := range pages {
		for i := range m.db[page*pageSize : (page+1)*pageSize] {
			m.db[page*pageSize+i] = byte(rnd.Uint32())
		}
	}
	return m
}

// T9: whichever pages of the file are overwritten, every record comes back that
// still stands in it whole, but for those that stand alone between two gaps.
func TestT9_RecordsComeBackFromPages(t *testing.T) {
	m := makeLedger(t, 300, false)
	rnd := rand.New(rand.NewPCG(*scanSeed, 9))
	pages := len(m.db) / pageSize
	trials := map[string][]int{"the first page": {0}, "the records' root": {recordRoot}, "both": {0, recordRoot}}
	for _, share := range []int{2, 10, 30} {
		for n := range 4 {
			trials[fmt.Sprintf("%d %% of the pages, %d", share, n)] = rnd.Perm(pages)[:max(1, pages*share/100)]
		}
		trials[fmt.Sprintf("both and %d %% of the pages", share)] = append(rnd.Perm(pages)[:pages*share/100], 0, recordRoot)
	}
	for name, spoil := range trials {
		t.Run(name, func(t *testing.T) {
			m := m.spoilt(rand.New(rand.NewPCG(*scanSeed, 8)), spoil...)
			whole := m.whole()
			got := m.back(t, m.put(t))
			var missing []int
			for _, seq := range whole {
				if !slices.Contains(got, seq) && (slices.Contains(whole, seq+1) || slices.Contains(whole, seq-1)) {
					missing = append(missing, seq)
				}
			}
			t.Logf("%d of %d records, %d stand whole in the file", len(slices.DeleteFunc(got, func(seq int) bool { return seq <= 10 })), len(m.records)-10, len(whole))
			if len(missing) > 0 {
				t.Errorf("records %d stand in the file and did not come back", missing)
			}
		})
	}
}

// T9: what the log has committed counts, whatever becomes of the file; what it has
// not, and what is left in it from before, does not.
func TestT9_RecordsComeBackFromTheLog(t *testing.T) {
	m := makeLedger(t, 40, true)
	rubbish := bytes.Repeat([]byte{0xA5}, len(m.db))
	const header, frame = 32, 24 + pageSize
	frames := (len(m.log) - header) / frame
	var commits []int // frames that end one
	for n := range frames {
		if size := m.log[header+n*frame+4:][:4]; !bytes.Equal(size, make([]byte, 4)) {
			commits = append(commits, n)
		}
	}
	for name, c := range map[string]struct {
		spoil func(log []byte) []byte
		all   bool
	}{
		"as it is": {func(log []byte) []byte { return log }, true},
		"SQLite does not take it": {func(log []byte) []byte {
			log[24] ^= 1 // the header's checksum
			return log
		}, true},
		"a later commit's torn end": {func(log []byte) []byte { return append(log, log[header:header+frame-7]...) }, true},
		"of another time": {func(log []byte) []byte {
			for n := range frames {
				log[header+n*frame+8] ^= 1
			}
			return log
		}, false},
		"never committed": {func(log []byte) []byte {
			for _, n := range commits {
				clear(log[header+n*frame+4:][:4])
			}
			return log
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := made{db: rubbish, log: c.spoil(bytes.Clone(m.log)), records: m.records}
			got := m.back(t, m.put(t))
			if whole := m.whole(); c.all && len(got) < len(whole) || !c.all && len(got) > 0 {
				t.Errorf("got records %d, want all: %t of %d", got, c.all, whole)
			}
		})
	}
	t.Run("all but the last record", func(t *testing.T) {
		log := bytes.Clone(m.log)
		last := commits[len(commits)-2:] // of the record, and of the acknowledgement
		for _, n := range last {
			clear(log[header+n*frame+4:][:4])
		}
		if at := bytes.Index(log, m.records[len(m.records)-1].Record); at > header+last[0]*frame+frame || at < header+(commits[len(commits)-3]+1)*frame {
			t.Fatal("the newest record does not stand where it should")
		}
		m := made{db: rubbish, log: log, records: m.records}
		if got := m.back(t, m.put(t)); len(got) == 0 || slices.Contains(got, len(m.records)) {
			t.Errorf("got records %d, want all but %d, which was not committed", got, len(m.records))
		}
	})
}

// T9: a record that is not as it was made does not come back, nor does one that
// nothing vouches for.
func TestT9_WhatIsNoRecordStaysAway(t *testing.T) {
	m := makeLedger(t, 60, false).spoilt(rand.New(rand.NewPCG(3, 9)), 0, recordRoot)
	change := func(seq int, old, new string) {
		at := bytes.Index(m.db, m.records[seq-1].Record)
		if at < 0 {
			t.Fatalf("record %d is not in the file", seq)
		}
		record := m.db[at : at+len(m.records[seq-1].Record)]
		if n := bytes.Index(record, []byte(old)); n < 0 || len(old) != len(new) {
			t.Fatalf("no %s in record %d", old, seq)
		} else {
			copy(record[n:], new)
		}
	}
	change(30, `"energy":28`, `"energy":82`) // in the middle
	change(41, `"prev":"`, `"perv":"`)       // cannot say where it belongs
	change(51, `"energy":49`, `"energy":94`) // beside a gap
	change(50, `"ledger"`, `"legder"`)
	change(52, `"seq"`, `"qes"`)
	got := m.back(t, m.put(t)) // and fails on any record that was not made
	for _, seq := range []int{30, 41, 50, 51, 52} {
		if slices.Contains(got, seq) {
			t.Errorf("got record %d, which was changed", seq)
		}
	}
	for _, seq := range []int{29, 31, 40, 42, 49, 53, 61} {
		if !slices.Contains(got, seq) {
			t.Errorf("record %d did not come back", seq)
		}
	}
}

// T9: of a record that stands in two places, changed in one, the right one comes back.
func TestT9_AChangedCopyStaysAway(t *testing.T) {
	m := makeLedger(t, 40, true)
	const seq = 30
	at := bytes.Index(m.log, m.records[seq-1].Record)
	if at < 0 {
		t.Fatal("the record is not in the log")
	}
	start := at - (at-32)%(24+pageSize) + 24 // of its page
	page, record := m.log[start:start+pageSize], m.records[seq-1]
	m.log[24] ^= 1                               // its own checksum: else SQLite makes the whole file of the log
	for _, before := range []bool{true, false} { // by hash, which orders what is found
		changed := record.Record
		for n := 0; n == 0 || (sum(changed) < record.Hash) != before; n++ {
			changed = bytes.Replace(record.Record, []byte(fmt.Sprintf(`"energy":%d,`, seq-2)), []byte(fmt.Sprintf(`"energy":%d,`, 30+n%70)), 1)
			changed = bytes.Replace(changed, []byte(`"meterValue"`), []byte(fmt.Sprintf(`"meterVal%02d"`, n%100)), 1)
		}
		d := made{db: append(bytes.Repeat([]byte{0xA5}, pageSize), bytes.Replace(page, record.Record, changed, 1)...), log: m.log, records: m.records}
		if got := d.back(t, d.put(t)); !slices.Contains(got, seq) {
			t.Errorf("got records %d, want %d among them", got, seq)
		}
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// T9: a file that has held several ledgers gives the records of all where it is not
// known which one is in force, and of that one alone where it is. Those that were
// carried over are the same to the backend.
func TestT9_RecordsOfSeveralLedgers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	commit(t, l, 12)
	old := unsent(t, l, 100)
	if err := l.Acknowledge(t.Context(), old[0].Ledger, 5, old[4].Hash); err != nil {
		t.Fatal(err)
	}
	if err := l.Acknowledge(t.Context(), old[0].Ledger, 99, old[4].Hash); err == nil || stats(t, l).Ledger == old[0].Ledger {
		t.Fatalf("got %v, want a new ledger", err)
	}
	commit(t, l, 7)
	l.Close()
	whole := read(t, path)
	for name, c := range map[string]struct {
		pages []int
		want  int
	}{"the first page": {[]int{0}, 12 + 8 + 7}, "the records' root": {[]int{recordRoot}, 8 + 7}} {
		t.Run(name, func(t *testing.T) {
			m := made{db: whole}.spoilt(rand.New(rand.NewPCG(4, 9)), c.pages...)
			l := openLedger(t, m.put(t), opts)
			all, err := allRecords(context.Background(), l)
			if err == nil {
				err = chained(all)
			}
			if err != nil || len(all) != 1+c.want {
				t.Errorf("got %d records (%v), want %d after the first; %s", len(all), err, c.want, l.Recovered())
			}
		})
	}
}

// The longest record that a list, a configuration and a carried place can make stands
// in one page, where a scan finds it.
func TestTheLongestRecordStandsInOnePage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	id := strings.Repeat("x", 64)
	const most = 1<<53 - 1
	for i := range 12 {
		err := l.Commit(t.Context(), session.Commit{Records: []session.Record{session.TransactionEvent{
			EventType: session.Started, TransactionID: strings.Repeat("f", 36), SeqNo: i, TriggerReason: "ChargingStateChangedSomehow", StoppedReason: "EnergyLimitReachedSomehow",
			Station: id, Kind: session.Charging, Account: strings.Repeat("\x01", 128), UID: strings.Repeat("f", 64),
			List: session.ListPoint{Epoch: most, Version: most}, MeterStart: most, MeterValue: most, Energy: most, Seconds: most,
			Review: []session.Review{session.ReviewTimeUnknown, "PowerLossInTheMiddle", "MeterWentBackwards", "EnergyUncertainSomehow"},
			At:     session.Stamp{BootID: strings.Repeat("b", 36), Up: 1 << 50, Wall: issued, Clock: session.ClockEstimated},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := stats(t, l)
	if err := l.Acknowledge(t.Context(), s.Ledger, 99, ""); err == nil { // all are carried over
		t.Fatal("got no error, want a new ledger")
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var longest int
	if err := db.QueryRow("SELECT max(length(CAST(body AS BLOB))) FROM record").Scan(&longest); err != nil {
		t.Fatal(err)
	}
	// https://sqlite.org/fileformat2.html, 1.6: of a cell up to the usable size less 35
	// stands in the page, here with a header of 4 bytes.
	if t.Logf("%d bytes", longest); longest < 1500 || longest > pageSize-35-4 {
		t.Errorf("got %d bytes, want at most %d", longest, pageSize-35-4)
	}
}

// FuzzDamagedLedger writes anything over a place of a ledger and of its log: it
// opens, its chain is whole, and it goes on.
func FuzzDamagedLedger(f *testing.F) {
	var m made
	f.Add(uint32(0), []byte("SQLite format 4"), uint32(40), []byte{0, 0, 0, 0})
	f.Add(uint32(recordRoot*pageSize), bytes.Repeat([]byte{0xA5}, pageSize), uint32(0), []byte{})
	f.Add(uint32(2*pageSize+7), []byte(`{"ledger":"x","seq":1,"prev":""}`), uint32(32), make([]byte, 24))
	f.Fuzz(func(t *testing.T, at uint32, spoil []byte, logAt uint32, logSpoil []byte) {
		if m.db == nil {
			m = makeLedger(t, 30, true)
		}
		d := made{db: bytes.Clone(m.db), log: bytes.Clone(m.log)}
		copy(d.db[int(at)%len(d.db):], spoil)
		copy(d.log[int(logAt)%len(d.log):], logSpoil)
		l := openLedger(t, d.put(t), opts)
		commit(t, l, 1)
		all, err := allRecords(context.Background(), l)
		if err == nil {
			err = chained(all)
		}
		if err != nil {
			t.Error(err)
		}
		l.Close()
	})
}
