package backend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"badged/cmd/internal/backend"
)

// dying is a receiver that dies at the nth time that it comes to a step. It tells how
// many bytes of the ledger a sync had covered by then.
func dying(t *testing.T, dir string, b backend.BrokerOpts, step string, nth int) (died <-chan int64) {
	t.Helper()
	r, err := backend.OpenReceiver(dir, backend.ReceiverOpts{Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	var synced int64
	r.FailAt(func(s string) {
		if s == "synced" {
			if info, err := os.Stat(ledgerOf(dir)); err == nil {
				synced = info.Size()
			}
		}
		if s == step {
			if nth--; nth == 0 {
				panic(step)
			}
		}
	})
	out := make(chan int64, 1)
	go func() {
		defer func() {
			if recover() != step {
				t.Errorf("the receiver ended before it was %s", step)
			}
			r.Abandon()
			out <- synced
		}()
		_ = r.Run(context.Background(), b)
	}()
	return out
}

func ledgerOf(dir string) string { return filepath.Join(dir, "gw-1", "l1.jsonl") }

// after is what a cut leaves of bytes that no sync has covered.
var after = map[string]func([]byte) []byte{
	"killed":                      func(b []byte) []byte { return b },
	"power cut, nothing is left":  func([]byte) []byte { return nil },
	"power cut, torn":             func(b []byte) []byte { return b[:len(b)*2/3] },
	"power cut, the middle blank": func(b []byte) []byte { clear(b[len(b)/4 : len(b)/2]); return b },
	"power cut, blank":            func(b []byte) []byte { clear(b); return b },
}

func TestReceiverDiesAtEveryStep(t *testing.T) {
	for what, left := range after {
		for _, step := range []string{"written", "synced", "taken", "acknowledged"} {
			for _, nth := range []int{1, 2, 5} {
				t.Run(fmt.Sprint(what, ", ", step, " ", nth), func(t *testing.T) {
					dir, b := t.TempDir(), broker(t)
					died := dying(t, dir, b, step, nth)
					g := newGateway(t, b)
					one := g.record("")
					until(t, "the receiver listens", func() bool { // or has died of it
						g.send(one)
						return len(g.conn.Messages()) > 0 || len(died) > 0
					})
					for len(died) == 0 {
						g.send(g.record(`,"account":"<&>"`), g.record(""))
					}
					cut(t, dir, <-died, left)
					promised := uint64(0)
					for len(g.conn.Messages()) > 0 {
						m := <-g.conn.Messages()
						m.Ack()
						var a struct{ UpTo uint64 }
						if err := json.Unmarshal(m.Payload, &a); err != nil {
							t.Fatal(err)
						}
						promised = max(promised, a.UpTo)
					}
					if got := whole(t, dir); got < promised {
						t.Fatalf("after the crash: got %d records, want at least the %d that were acknowledged", got, promised)
					}
					receive(t, dir, b)
					g.send(g.sent...)
					g.acked(uint64(g.seq))
					if got := whole(t, dir); got != uint64(g.seq) {
						t.Errorf("got %d records, want %d, each once", got, g.seq)
					}
				})
			}
		}
	}
}

// cut leaves of the ledger what a crash does.
func cut(t *testing.T, dir string, synced int64, left func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(ledgerOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	content = append(content[:synced:synced], left(content[synced:])...)
	if err := os.WriteFile(ledgerOf(dir), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// whole counts the lines in order from record 1. A line twice is an error.
func whole(t *testing.T, dir string) (n uint64) {
	t.Helper()
	content, err := os.ReadFile(ledgerOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for line := range bytes.Lines(content) {
		var r backend.Record
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		if seen[r.Seq] {
			t.Fatalf("record %d stands there twice", r.Seq)
		}
		seen[r.Seq] = true
	}
	for seen[n+1] {
		n++
	}
	return n
}

// A line that is damaged on a disk that had kept it costs nothing: what is good
// stays, and the gateway sends the rest again.
func TestReceiverMendsDamagedLines(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	_, stop := receive(t, dir, b)
	g := newGateway(t, b)
	for range 400 {
		g.record(`,"account":"Zoë"`)
	}
	until(t, "the receiver listens", func() bool { g.send(g.sent[0]); return len(g.conn.Messages()) > 0 })
	g.send(g.sent...)
	g.acked(400)
	stop()
	content, err := os.ReadFile(ledgerOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines[2] = append(bytes.Repeat([]byte("rubbish"), 300_000), '\n') // longer than any record
	lines[299] = bytes.Replace(lines[299], []byte("Zoë"), []byte("Zoé"), 1)
	if err := os.WriteFile(ledgerOf(dir), bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	log, _ := receive(t, dir, b)
	until(t, "the damage is said", func() bool {
		return log.Has("2 damaged lines, the first 3") && log.Has("whole up to 2, the last is 400")
	})
	if a := g.acked(2); a.UpTo != 2 {
		t.Errorf("got %+v, want an ack that goes back", a)
	}
	g.send(g.sent[2], g.sent[299])
	g.acked(400)
	if got := whole(t, dir); got != 400 {
		t.Errorf("got %d records, want 400", got)
	}
	if aside, _ := filepath.Glob(ledgerOf(dir) + ".damaged-*"); len(aside) != 1 {
		t.Errorf("got %v, want the damaged file kept", aside)
	}
}

// A record may be larger on disk than on its way, and must be read again.
func TestReceiverReadsWhatItWrote(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	_, stop := receive(t, dir, b)
	g := newGateway(t, b)
	first := g.record("")
	until(t, "the receiver listens", func() bool { g.send(first); return len(g.conn.Messages()) > 0 })
	g.send(g.record(`,"account":"` + string(bytes.Repeat([]byte("<"), 50_000)) + `"`))
	g.acked(2)
	stop()
	r, err := backend.OpenReceiver(dir, backend.ReceiverOpts{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}
