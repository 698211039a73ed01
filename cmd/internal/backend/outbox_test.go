package backend_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// site is a gateway's ledger and its uplink.
type site struct {
	t      testing.TB
	dir    string
	ledger *cache.Ledger
}

func openSite(t testing.TB, dir string) *site {
	t.Helper()
	l, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1",
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, ledger: l}
	t.Cleanup(func() { l.Close() })
	return s
}

func (s *site) commit(n int) {
	s.t.Helper()
	for range n {
		e := session.TransactionEvent{EventType: session.Started, TransactionID: "t", Station: "washer", Account: "r-1"}
		if err := s.ledger.Commit(s.t.Context(), session.Commit{Records: []session.Record{e}}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// connect runs the uplink until the test ends or stop.
func (s *site) connect(b backend.BrokerOpts, change func(*uplink.Opts)) (c *uplink.Client, stop func()) {
	s.t.Helper()
	list, err := cache.OpenList(filepath.Join(s.t.TempDir(), "list.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	o := uplink.Opts{Gateway: "gw-1", Broker: b, List: "desk", Store: list, Ratchet: s.ledger, Outbox: s.ledger,
		RetryMin: time.Millisecond, RetryMax: 50 * time.Millisecond}
	change(&o)
	if c, err = uplink.New(o); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = func() {
		cancel()
		<-done
		list.Close()
	}
	return c, stop
}

func (s *site) outbox() session.Outbox {
	s.t.Helper()
	o, err := s.ledger.Outbox(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// T4: the broker has taken everything, is killed before the backend was there, and
// comes back with nothing. What it lost comes again because no ack has come.
func TestT4_WhatAKilledBrokerLostComesAgain(t *testing.T) {
	m := uplinktest.Start(t, "mosquitto")
	b := m.Broker()
	store := t.TempDir()
	_, stop := receive(t, store, b) // the broker is to keep its messages from now on
	until(t, "the backend was there", func() bool { return strings.Contains(m.Log(), "Sending SUBACK to badgectl-events") })
	stop()

	s := openSite(t, t.TempDir())
	s.commit(60)
	_, stop = s.connect(b, func(o *uplink.Opts) { o.AckTimeout = 200 * time.Millisecond })
	defer stop()
	until(t, "the broker has taken all", func() bool { o := s.outbox(); return o.Taken == o.End && o.End == 61 })
	if o := s.outbox(); o.Committed != 0 {
		t.Fatalf("committed: got %d, want 0: nobody has acknowledged", o.Committed)
	}
	m.Kill()
	m.Run()
	receive(t, store, b)
	until(t, "the backend has all", func() bool { o := s.outbox(); return o.Committed == 61 })
	checked(t, store, 61)
}

// checked wants one whole ledger of so many records in the store.
func checked(t *testing.T, store string, records uint64) {
	t.Helper()
	n := 0
	if err := backend.Check(store, func(c backend.Checked) error {
		if n++; c.Odd != "" || c.UpTo != records {
			t.Errorf("got %+v, want %d records, whole", c, records)
		}
		return nil
	}); err != nil || n != 1 {
		t.Errorf("got %d ledgers and %v, want one", n, err)
	}
}

// A card that was restored from an older copy of itself gives numbers again that
// the backend knows with other hashes. Its ledger is left and a new one opened;
// no session is lost, none is billed twice.
func TestRestoredCardOpensANewLedger(t *testing.T) {
	b := broker(t)
	store, dir := t.TempDir(), t.TempDir()
	receive(t, store, b)
	s := openSite(t, dir)
	s.commit(3)
	_, stop := s.connect(b, func(*uplink.Opts) {})
	until(t, "3 are committed", func() bool { return s.outbox().Committed == 4 })
	stop()
	old := s.outbox().Ledger
	s.ledger.Close()
	copied := t.TempDir()
	if out, err := exec.Command("cp", "-r", dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s = openSite(t, dir)
	s.commit(5)
	_, stop = s.connect(b, func(*uplink.Opts) {})
	until(t, "5 more are committed", func() bool { return s.outbox().Committed == 9 })
	stop()

	s = openSite(t, copied)
	s.commit(2) // numbers 5 and 6 again
	var refused []error
	c, stop := s.connect(b, func(o *uplink.Opts) { o.OnAck = func(err error) { refused = append(refused, err) } })
	until(t, "a new ledger, all of it committed", func() bool { o := s.outbox(); return o.Ledger != old && o.Committed == o.End && o.End == 3 })
	stop()
	if a := c.State().Acks; a.Refused == 0 || len(refused) == 0 || !strings.Contains(a.Last, "acknowledges") {
		t.Errorf("got %+v and %v, want the ack that was refused counted and told", a, refused)
	}
	content, err := os.ReadFile(filepath.Join(store, "gw-1", s.outbox().Ledger+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(string(content), "\n"); len(lines) != 4 || !strings.Contains(lines[0], fmt.Sprintf(`"before":%q`, old)) ||
		!strings.Contains(lines[0], `"why":"restored"`) || !strings.Contains(lines[1], `"carried"`) {
		t.Errorf("got\n%s\nwant a ledger that names the old one and brings two records along", content)
	}
}

// What a person sees: the line of docs/backend.md.
func TestPeopleReadRecordsWithJQ(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("no jq on this machine: sudo apt-get install jq")
	}
	line := docLine(t, "mosquitto_sub")
	m := uplinktest.Start(t, "mosquitto")
	host, port, _ := strings.Cut(m.Addr, ":")
	line = strings.ReplaceAll(line, "broker.example.org", host+" -p "+port)
	line = strings.NewReplacer("mosquitto_sub", uplinktest.Need(t, "mosquitto_sub"), "jq", jq).Replace(line)
	cmd := exec.Command("sh", "-c", line)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the shell's children too
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	late := time.AfterFunc(time.Minute, kill)
	t.Cleanup(func() { late.Stop(); kill(); _ = cmd.Wait() })
	until(t, "it listens", func() bool { return strings.Contains(m.Log(), "Sending SUBACK") })
	s := openSite(t, t.TempDir())
	s.commit(1)
	_, stop := s.connect(m.Broker(), func(*uplink.Opts) {})
	defer stop()
	lines := bufio.NewScanner(out)
	for _, want := range []string{`["gw-1",1,`, `["gw-1",2,`} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("got %s, %v, want a line that begins with %s", lines.Text(), lines.Err(), want)
		}
	}
	if want := `"TransactionEvent","Started","washer","r-1",0]`; !strings.HasSuffix(lines.Text(), want) {
		t.Errorf("got %s, want %s at its end", lines.Text(), want)
	}
}

// docLine is the line of docs/backend.md that begins with a command.
func docLine(t *testing.T, command string) string {
	t.Helper()
	b, err := os.ReadFile(docs + "backend.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok && strings.HasPrefix(line, command) {
			return line
		}
	}
	t.Fatalf("docs/backend.md has no line %q", command)
	return ""
}

// However many gateways and records there are, a receiver holds little of them.
func TestManyGatewaysInOneStore(t *testing.T) {
	store := t.TempDir()
	for n := range 50 {
		g := gateway{t: t, prev: firstPrev}
		name := fmt.Sprintf("gw-%d", n)
		if err := os.MkdirAll(filepath.Join(store, name), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(store, name, "l1.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(g.record(""), &m); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(f, `{"gateway":%q,"ledger":%s,"seq":%s,"hash":%s,"record":%s}`+"\n", name, m["ledger"], m["seq"], m["hash"], m["record"])
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := backend.OpenReceiver(store, backend.ReceiverOpts{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if files, blocks := r.Held(); files != 0 || blocks != 50*2 {
		t.Errorf("got %d open files and %d places in them, want none and %d", files, blocks, 50*2)
	}
}
