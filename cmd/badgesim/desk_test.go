package main_test

import (
	"badged/uplink/uplinktest"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programs are built once for all tests of this package.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "badged-test-bin-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "badged/cmd/...").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// start runs a program until the test ends, its output in the test's log.
func start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	var log uplinktest.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("%s %v:\n%s", name, args, log.String())
		}
	})
	return cmd
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until f holds, and fails the test with what was missing.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// mosquitto starts a broker and waits until it listens.
func mosquitto(t *testing.T, conf, addr string) *exec.Cmd {
	t.Helper()
	cmd := start(t, uplinktest.Need(t, "mosquitto"), "-c", conf)
	eventually(t, "mosquitto", func() bool { return listens(addr) })
	return cmd
}

// listens tells whether somebody does at that address.
func listens(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// subscription is mosquitto_sub: a client that we did not write.
type subscription struct {
	mu    sync.Mutex
	lines []string // topic, space, payload
}

func subscribe(t *testing.T, addr string) *subscription {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(uplinktest.Need(t, "mosquitto_sub"), "-h", host, "-p", port, "-v", "-q", "1", "-t", "badged/v1/gateways/#")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s := &subscription{}
	go s.read(out)
	return s
}

func (s *subscription) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		s.mu.Lock()
		s.lines = append(s.lines, in.Text())
		s.mu.Unlock()
	}
}

type record struct {
	Type          string `json:"type"`
	EventType     string `json:"eventType"`
	TransactionID string `json:"transactionId"`
	Station       string `json:"station"`
	StoppedReason string `json:"stoppedReason"`
	Energy        int64  `json:"energy"`
	UID           string `json:"uid"`
}

// records are the transaction events of a station heard so far.
func (s *subscription) records(station string) []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []record
	for _, line := range s.lines {
		topic, payload, _ := strings.Cut(line, " ")
		var e struct{ Record record }
		if strings.HasSuffix(topic, "/events") && json.Unmarshal([]byte(payload), &e) == nil && e.Record.Station == station {
			out = append(out, e.Record)
		}
	}
	return out
}

// last is the newest payload of a topic.
func (s *subscription) last(leaf string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload := ""
	for _, line := range s.lines {
		if topic, p, _ := strings.Cut(line, " "); strings.HasSuffix(topic, "/"+leaf) {
			payload = p
		}
	}
	return payload
}

type tapResult struct {
	UID, Type, Verdict, Status, Reason, Station, TransactionID string
}

// desk is a running badgesim as badgectl sees it.
type desk struct {
	t      *testing.T
	socket string
}

func (d desk) ctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(d.t, "badgectl"), append([]string{"--socket", d.socket}, args...)...).CombinedOutput()
	return string(out), err
}

func (d desk) must(args ...string) string {
	d.t.Helper()
	out, err := d.ctl(args...)
	if err != nil {
		d.t.Fatalf("badgectl %v: %v\n%s", args, err, out)
	}
	return out
}

func (d desk) tap(args ...string) (r tapResult) {
	d.t.Helper()
	out := d.must(append([]string{"tap", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		d.t.Fatalf("tap printed %q: %v", out, err)
	}
	return r
}

// hasList tells whether the list is in force and the readers read.
func (d desk) hasList() bool {
	out, err := d.ctl("status", "--json")
	var s struct {
		List    struct{ Version int }
		Readers []struct{ State string }
	}
	if err != nil || json.Unmarshal([]byte(out), &s) != nil {
		return false
	}
	for _, r := range s.Readers {
		if r.State != "ready" {
			return false
		}
	}
	return s.List.Version > 0
}

func TestWholeGatewayWithMosquitto(t *testing.T) {
	if testing.Short() {
		t.Skip("runs programs")
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := mosquitto(t, conf, addr)
	heard := subscribe(t, addr)
	state := t.TempDir()
	start(t, program(t, "badgesim"), "--state", state, "--broker", "tcp://"+addr)
	d := desk{t, filepath.Join(state, "control.sock")}
	eventually(t, "the list", d.hasList)
	if got := heard.last("online"); got != `{"online":true}` {
		t.Errorf("got online %s", got)
	}

	d.must("load", "washer", "2000")
	began := d.tap("30949AD1")
	if began.Status != "Accepted" || began.Station != "washer" || began.Type != "classic-1k" || began.TransactionID == "" {
		t.Fatalf("got %+v, want Bruno's badge to start the washer", began)
	}
	eventually(t, "a Started record", func() bool { return len(heard.records("washer")) > 0 })
	if r := heard.records("washer")[0]; r.EventType != "Started" || r.TransactionID != began.TransactionID || strings.Contains(r.UID, "30949AD1") {
		t.Errorf("got %+v, want Started of %s with its UID as an HMAC", r, began.TransactionID)
	}
	for uid, want := range map[string]tapResult{
		"8D6FA144":       {Verdict: "accept", Status: "Unknown", Reason: "UnknownBadge"},
		"485FD82E":       {Verdict: "accept", Status: "Blocked", Reason: "BlockedBadge"},
		"7C5E9033":       {Verdict: "accept", Status: "Invalid", Reason: "ThirdPartyBadge"},
		"0426DF47D83C80": {Verdict: "reject-tcl", Status: "Invalid", Reason: "DESFire"},
	} {
		if got := d.tap(uid); got.Verdict != want.Verdict || got.Status != want.Status || got.Reason != want.Reason || got.UID != uid {
			t.Errorf("tap %s: got %+v, want %+v", uid, got, want)
		}
	}
	if got := d.tap("30949AD1", "04A1B2C3"); got.Reason != "MultipleCards" {
		t.Errorf("two badges: got %+v, want MultipleCards", got)
	}
	if out, _ := d.ctl("tap", "nonsense"); !strings.Contains(out, "UID") {
		t.Errorf("tap nonsense: got %q, want an error about the UID", out)
	}

	// The broker dies with the session open, and comes back.
	broker.Process.Kill()
	broker.Wait()
	d.must("load", "washer", "3")
	mosquitto(t, conf, addr)
	heard = subscribe(t, addr)
	eventually(t, "an Ended record", func() bool {
		all := heard.records("washer")
		return len(all) > 0 && all[len(all)-1].EventType == "Ended"
	})
	all := heard.records("washer")
	if end := all[len(all)-1]; end.TransactionID != began.TransactionID || end.Energy < 1 {
		t.Errorf("got %+v, want the end of %s with its energy", end, began.TransactionID)
	}
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs programs")
	}
	out, err := exec.Command(program(t, "badgesim"), "--demo").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The demo is only worth something if a relay that does not move fails it.
func TestDemoNoticesWeldedRelays(t *testing.T) {
	if testing.Short() {
		t.Skip("runs programs")
	}
	out, err := exec.Command(program(t, "badgesim"), "--demo", "--weld-relay").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("relay on did not come")) {
		t.Errorf("got %v, want the demo to miss the relay\n%s", err, out)
	}
}
