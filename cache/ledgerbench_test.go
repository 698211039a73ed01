package cache_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"badged/session"
)

// written is how many bytes this process has sent to storage (proc(5),
// /proc/pid/io, write_bytes).
func written(b *testing.B) int64 {
	io, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	var n int64
	for line := range strings.Lines(string(io)) {
		fmt.Sscanf(line, "write_bytes: %d", &n)
	}
	return n
}

// measure reports time and written bytes of each turn.
func measure(b *testing.B, f func(i int)) {
	var took []time.Duration
	before := written(b)
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(written(b)-before)/float64(b.N), "written-B/op")
	percentiles(b, took)
}

// state differs each time: SQLite does not write what is the same.
func state(i int) map[string][]byte {
	return map[string][]byte{"washer": fmt.Appendf(nil, "%0400d", i)}
}

// disk is the block device that the temporary folder is on.
type disk string

// diskOf finds it by its number (stat(2), sysfs(5)).
func diskOf(b *testing.B, dir string) disk {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		b.Fatal(err)
	}
	return disk(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
}

// wrote is how many bytes and flushes the device has got, of whomever
// (https://docs.kernel.org/block/stat.html).
func (d disk) wrote(b *testing.B) (bytes, flushes int64) {
	text, err := os.ReadFile(string(d))
	if err != nil {
		b.Skip("no device to look at: ", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 16 {
		b.Skip("this kernel does not count flushes")
	}
	sectors, _ := strconv.ParseInt(fields[6], 10, 64)
	flushes, _ = strconv.ParseInt(fields[15], 10, 64)
	return 512 * sectors, flushes
}

// cost is what a commit costs: own is what this process sends to storage, folding
// the log included; the others are what the device gets, of everybody on it.
type cost struct{ own, bytes, flushes float64 }

// round makes some commits and says what each cost. Where others write to the disk
// too, only own is to be believed; the median of many rounds helps a little.
func (d disk) round(b *testing.B, commit func()) cost {
	const commits = 50
	own := written(b)
	bytes, flushes := d.wrote(b)
	for range commits {
		commit()
	}
	moreBytes, moreFlushes := d.wrote(b)
	return cost{float64(written(b)-own) / commits, float64(moreBytes-bytes) / commits, float64(moreFlushes-flushes) / commits}
}

func mean(costs []cost) (own float64) {
	for _, c := range costs {
		own += c.own / float64(len(costs))
	}
	return own
}

func median(costs []cost, of func(cost) float64) float64 {
	var all []float64
	for _, c := range costs {
		all = append(all, of(c))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// bare is a table of records in a database of somebody who cares for nothing else.
func bare(b *testing.B) (commit func()) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE record (no INTEGER PRIMARY KEY, body TEXT)"); err != nil {
		b.Fatal(err)
	}
	body := strings.Repeat("x", 600)
	return func() {
		if _, err := db.Exec("INSERT INTO record (body) VALUES (?)", body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is what a commit costs the device, beside a bare WAL commit of a
// record as long, turn by turn in the same run.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name   string
		commit func(i int) session.Commit
	}{
		{"record alone", func(i int) session.Commit { return session.Commit{Records: start(i).Records} }},
		{"record and state", func(i int) session.Commit { return session.Commit{Records: start(i).Records, States: state(i)} }},
		{"record, state and decision", func(i int) session.Commit {
			c := session.Commit{Records: start(i).Records, States: state(i)}
			c.Telemetry = []session.Telemetry{{Type: "Decision", At: stamp(0), Body: "04A1…C3"}}
			return c
		}},
		{"checkpoint", func(i int) session.Commit { return session.Commit{States: state(i)} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			l, commitBare, d := newLedger(b), bare(b), diskOf(b, b.TempDir())
			var ours, theirs []cost
			var took []time.Duration
			i := 0
			for b.Loop() {
				theirs = append(theirs, d.round(b, commitBare))
				ours = append(ours, d.round(b, func() {
					began := time.Now()
					i++
					if err := l.Commit(b.Context(), c.commit(i)); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}))
			}
			bytes, flushes := func(c cost) float64 { return c.bytes }, func(c cost) float64 { return c.flushes }
			b.ReportMetric(median(ours, bytes), "device-B")
			b.ReportMetric(median(theirs, bytes), "bare-device-B")
			b.ReportMetric(mean(ours), "written-B")
			b.ReportMetric(mean(theirs), "bare-written-B")
			b.ReportMetric(mean(ours)/mean(theirs), "x-bare")
			b.ReportMetric(median(ours, flushes), "flushes")
			b.ReportMetric(median(theirs, flushes), "bare-flushes")
			b.ReportMetric(0, "ns/op")
			percentiles(b, took)
		})
	}
}

func BenchmarkDrain(b *testing.B) {
	l := newLedger(b)
	for range 100 {
		c := session.Commit{}
		for i := range 100 {
			c.Records = append(c.Records, event(i, session.Updated))
		}
		if err := l.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	id := stats(b, l).Ledger
	for b.Loop() {
		batch := unsent(b, l, 20)
		if len(batch) == 0 {
			if err := l.Rewind(b.Context(), 1, 0); err != nil {
				b.Fatal(err)
			}
			continue
		}
		if err := l.Taken(b.Context(), id, batch[len(batch)-1].Seq); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
