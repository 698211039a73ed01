package backend_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"badged/cmd/internal/backend"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

var firstPrev = strings.Repeat("0", 64)

// gateway is one that sends what it is told to.
type gateway struct {
	t    testing.TB
	conn *uplink.Conn
	prev string
	seq  int
	sent [][]byte // in the order of their making
}

func newGateway(t *testing.T, b backend.BrokerOpts) *gateway {
	t.Helper()
	c, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "gw-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Subscribe(t.Context(), uplink.GatewayTopics("gw-1").Ack()); err != nil {
		t.Fatal(err)
	}
	return &gateway{t: t, conn: c, prev: firstPrev}
}

// record makes the next message of ledger l1.
func (g *gateway) record(fields string) []byte {
	g.t.Helper()
	g.seq++
	b, err := jcs.Transform(fmt.Appendf(nil, `{"ledger":"l1","seq":%d,"prev":%q%s}`, g.seq, g.prev, fields))
	if err != nil {
		g.t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	g.prev = hex.EncodeToString(sum[:])
	m := fmt.Appendf(nil, `{"v":1,"ledger":"l1","seq":%d,"hash":%q,"record":%s}`, g.seq, g.prev, b)
	g.sent = append(g.sent, m)
	return m
}

func (g *gateway) send(messages ...[]byte) {
	g.t.Helper()
	for _, m := range messages {
		if err := g.conn.Publish(g.t.Context(), uplink.GatewayTopics("gw-1").Events(), false, m); err != nil {
			g.t.Fatal(err)
		}
	}
}

// acked waits for the ack up to seq.
func (g *gateway) acked(seq uint64) uplink.Ack {
	g.t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case m := <-g.conn.Messages():
			m.Ack()
			var a uplink.Ack
			if err := json.Unmarshal(m.Payload, &a); err != nil {
				g.t.Fatal(err)
			}
			if a.UpTo > seq {
				g.t.Fatalf("acknowledged: got up to %d, want %d", a.UpTo, seq)
			}
			if a.UpTo == seq {
				return a
			}
		case <-time.After(time.Second): // the broker may lose what it took: mochi-mqtt does in a takeover
			g.send(g.sent...)
		case <-end:
			g.t.Fatalf("no ack up to %d in a minute", seq)
		}
	}
}

// receive starts a receiver; stop ends it.
func receive(t *testing.T, dir string, b backend.BrokerOpts) (log *uplinktest.Log, stop func()) {
	t.Helper()
	log = new(uplinktest.Log)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	r, err := backend.OpenReceiver(dir, backend.ReceiverOpts{Ack: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, b) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
			r.Close()
		})
	}
	t.Cleanup(stop)
	// The subscription is there once a record comes through.
	return log, stop
}

func TestReceiverClosesGapsDropsRepeatsAndSurvivesRestarts(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	_, stop := receive(t, dir, b)
	g := newGateway(t, b)
	m := [][]byte{nil, g.record(""), g.record(""), g.record(""), g.record(""), g.record("")}
	until(t, "the receiver listens", func() bool { g.send(m[1]); return len(g.conn.Messages()) > 0 })
	if a := g.acked(1); a.Ledger != "l1" {
		t.Errorf("got %+v, want ledger l1", a)
	}
	g.send(m[3], m[4], m[3])
	stop()
	path := filepath.Join(dir, "gw-1", "l1.jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"torn":`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	receive(t, dir, b)
	until(t, "it listens again", func() bool { g.send(m[2]); return len(g.conn.Messages()) > 0 })
	g.send(m[3], m[4], m[5])
	if a := g.acked(5); a.Hash != g.prev {
		t.Errorf("hash: got %s, want %s", a.Hash, g.prev)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(content, []byte("\n")); n != 5 {
		t.Errorf("got %d lines, want each record once:\n%s", n, content)
	}
}

func TestReceiverRefusesWhatDoesNotFit(t *testing.T) {
	dir, b := t.TempDir(), broker(t)
	log, _ := receive(t, dir, b)
	g := newGateway(t, b)
	one := g.record("")
	until(t, "the receiver listens", func() bool { g.send(one); return len(g.conn.Messages()) > 0 })
	g.acked(1)
	two := g.record("")
	g.send(bytes.Replace(two, []byte(`"seq":2`), []byte(`"seq":3`), 1))
	until(t, "a message that says another seq", func() bool { return log.Has("disagree") })
	g.send(bytes.Replace(two, []byte(g.prev), []byte(strings.Repeat("0", 64)), 1))
	until(t, "a wrong hash", func() bool { return log.Has("does not have the hash") })
	fork := &gateway{t: t, prev: strings.Repeat("0", 64)}
	g.send(fork.record(`,"other":true`))
	until(t, "a fork", func() bool { return log.Has("given before") })
	g.send(two)
	g.acked(2)
	broken := &gateway{t: t, prev: strings.Repeat("1", 64), seq: 2}
	g.send(broken.record(""))
	until(t, "a broken chain", func() bool { return log.Has("does not follow") })
	g.send(g.record("")) // the true third one finds its place free
	if a := g.acked(3); a.Hash != g.prev {
		t.Errorf("acknowledged: got hash %s, want that of the true third record, %s", a.Hash, g.prev)
	}
}
