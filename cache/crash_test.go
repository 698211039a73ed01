package cache_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"badged/cache"
	"badged/session"
)

// childEnv makes a test the victim of a crash test: "point:n" is the point and
// which time it is reached when the process kills itself; "" is a usual run.
const childEnv = "CACHE_CRASH"

// crashAt returns a failpoint that kills this process without any clean-up.
func crashAt() func(string) {
	point, at, _ := bytes.Cut([]byte(os.Getenv(childEnv)), []byte(":"))
	left, _ := strconv.Atoi(string(at))
	return func(reached string) {
		if reached != string(point) {
			return
		}
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// runChild runs the named test as a process that is killed at the point, in dir,
// and returns the last number that it printed.
func runChild(t *testing.T, name, dir, point string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$")
	cmd.Env = append(os.Environ(), childEnv+"="+point, "CACHE_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := -1
	for s := bufio.NewScanner(out); s.Scan(); {
		if n, err := strconv.Atoi(s.Text()); err == nil {
			acked = n
		}
	}
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("got %v, want killed at %s", cmd.ProcessState, point)
	}
	return acked
}

// TestLedgerChild is the victim: each commit moves the state and appends two
// records that say the same; what it prints is durable.
func TestLedgerChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("victim of TestLedgerKilled")
	}
	l := openLedger(t, filepath.Join(os.Getenv("CACHE_DIR"), "ledger.db"), opts)
	l.FailAt(crashAt())
	next := storedState(t, l) + 1
	for i := next; ; i++ {
		err := l.Commit(t.Context(), session.Commit{
			States:  map[string][]byte{"washer": []byte(strconv.Itoa(i))},
			Records: []session.Record{event(i, session.Updated), event(i, session.Updated)},
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stdout, i)
		if i%3 == 0 {
			if err := l.Taken(t.Context(), stats(t, l).Ledger, uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func storedState(t *testing.T, l *cache.Ledger) int {
	states, err := l.States(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if states["washer"] == nil {
		return -1
	}
	n, err := strconv.Atoi(string(states["washer"]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// checkLedger compares what a ledger holds with what was acknowledged.
func checkLedger(t *testing.T, l *cache.Ledger, acked int) {
	t.Helper()
	if l.Recovered() != "" {
		t.Fatalf("got %s, want an undamaged ledger", l.Recovered())
	}
	if err := l.Rewind(context.Background(), 1, 0); err != nil {
		t.Fatal(err)
	}
	replayed := unsent(t, l, 1<<20)
	if s := stats(t, l); s.Taken > 0 { // Unsent gave what is new; the rest is before it
		if err := l.Taken(context.Background(), s.Ledger, s.End); err != nil {
			t.Fatal(err)
		}
		if err := l.Rewind(context.Background(), 1, 0); err != nil {
			t.Fatal(err)
		}
		replayed = unsent(t, l, 1<<20)
	}
	verifyChain(t, replayed)
	state := storedState(t, l)
	if state < acked || state > acked+1 || len(replayed) != 1+2*(state+1) {
		t.Fatalf("got state %d and %d records, want state %d or one more, and two records each", state, len(replayed), acked)
	}
	var last session.TransactionEvent
	if err := json.Unmarshal(replayed[len(replayed)-1].Record, &last); err != nil || state >= 0 && last.Energy != int64(state) {
		t.Fatalf("got a last record of %d, want %d (%v)", last.Energy, state, err)
	}
}

func TestLedgerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 30 processes")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	acked := -1
	for n := 1; n <= 10; n++ { // the same ledger, killed over and over
		for _, point := range []string{"begun", "written", "committed"} {
			acked = max(acked, runChild(t, "TestLedgerChild", dir, fmt.Sprintf("%s:%d", point, n)))
			l := openLedger(t, path, opts)
			checkLedger(t, l, acked)
			acked = storedState(t, l)
			l.Close()
		}
	}
}

// TestKeySetChild is the victim: it keeps one key set after the other.
func TestKeySetChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("victim of TestKeySetKilled")
	}
	l := openLedger(t, filepath.Join(os.Getenv("CACHE_DIR"), "ledger.db"), opts)
	l.FailAt(crashAt())
	for i := keySet(t, l) + 1; ; i++ {
		if err := l.SaveKeySet(t.Context(), "via-roma-12", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stdout, i)
	}
}

// keySet is the number of the key set that is kept, -1 for none.
func keySet(t *testing.T, l *cache.Ledger) int {
	t.Helper()
	b, err := l.KeySet(t.Context(), "via-roma-12")
	if err != nil {
		t.Fatal(err)
	}
	if b == nil {
		return -1
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatalf("got key set %q, want one that was saved", b)
	}
	return n
}

// The key set that is kept is the old one or the new one, whenever the process dies.
func TestKeySetKilled(t *testing.T) {
	dir := t.TempDir()
	for n := 1; n <= 3; n++ {
		for _, point := range []string{"begun", "written", "committed"} {
			acked := runChild(t, "TestKeySetChild", dir, fmt.Sprintf("%s:%d", point, n))
			l := openLedger(t, filepath.Join(dir, "ledger.db"), opts)
			if got := keySet(t, l); got < acked || acked >= 0 && got > acked+1 {
				t.Errorf("killed at %s: got key set %d, want %d or the next", point, got, acked)
			}
			l.Close()
		}
	}
}

// TestListChild is the victim: it loads, activates, changes and tidies lists of
// 5 entries a version, all of the version's account.
func TestListChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("victim of TestListKilled")
	}
	l := openList(t, filepath.Join(os.Getenv("CACHE_DIR"), "list.db"))
	l.FailAt(crashAt())
	v, err := l.InForce(t.Context())
	for err == nil {
		to := version(v.Version+1, 6)
		if v, err = to, replace(t.Context(), l, v, to); err == nil {
			fmt.Fprintln(os.Stdout, to.Version)
		}
	}
	t.Fatal(err)
}

// ofVersion are the six entries of version n.
func ofVersion(n uint64) []session.Entry {
	es := entries(0, 6)
	for i := range es {
		es[i].Account = fmt.Sprint(n)
	}
	return es
}

// replace leads to another version by a delta or, every second time, a snapshot
// that goes on where an earlier process was killed.
func replace(ctx context.Context, l *cache.List, from, to session.ListVersion) error {
	es := ofVersion(to.Version)
	if to.Version%2 == 0 {
		return l.ApplyDeltas(ctx, from, to, []session.Delta{{Put: es[:3]}, {Put: es[3:]}})
	}
	for chunk := range 3 {
		if err := l.Stage(ctx, to, chunk, es[2*chunk:2*chunk+2]); err != nil {
			return err
		}
	}
	if err := l.Activate(ctx, to, 3); err != nil {
		return err
	}
	_, err := l.Tidy(ctx)
	return err
}

func TestListKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 36 processes")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "list.db")
	for n := 1; n <= 12; n++ {
		for _, point := range []string{"written", "committed"} {
			acked := runChild(t, "TestListChild", dir, fmt.Sprintf("%s:%d", point, n))
			l := openList(t, path)
			v, err := l.InForce(t.Context())
			if err != nil || int(v.Version) < acked || l.Recovered() != "" {
				t.Fatalf("got version %d %q, want at least %d (%v)", v.Version, l.Recovered(), acked, err)
			}
			for i := range 6 {
				got := lookup(t, l, badge(i))
				if v.Version > 0 && (got.Entry.Account != fmt.Sprint(v.Version) || got.List != v) {
					t.Fatalf("got %+v, want an entry of version %d", got, v.Version)
				}
			}
			l.Close()
		}
	}
}

// TestPowerCutAtEveryByte cuts the log where a power cut may have: everything
// before the end of the last flush is on disk, of what comes after a part or
// rubbish.
func TestPowerCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := openLedger(t, path, opts)
	var ends []int64 // size of the log after each commit
	for i := range 12 {
		err := l.Commit(t.Context(), session.Commit{
			States:  map[string][]byte{"washer": []byte(strconv.Itoa(i))},
			Records: []session.Record{event(i, session.Updated), event(i, session.Updated)},
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, st.Size())
	}
	db, wal := read(t, path), read(t, path+"-wal")
	for cut := ends[0]; cut <= int64(len(wal)); cut += 509 { // a prime, to meet every offset in a sector
		for _, rubbish := range []byte{0, 0xFF} {
			tail := bytes.Repeat([]byte{rubbish}, 3000)
			if rubbish == 0 {
				tail = nil
			}
			acked := -1
			for i, end := range ends {
				if end <= cut {
					acked = i
				}
			}
			torn := filepath.Join(t.TempDir(), "ledger.db")
			write(t, torn, db)
			write(t, torn+"-wal", append(wal[:cut:cut], tail...))
			l := openLedger(t, torn, opts)
			checkLedger(t, l, acked)
			l.Close()
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
