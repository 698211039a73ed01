package backend_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"badged/session"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// docs/receive-records.py was written from docs/backend.md: it is a backend to a
// gateway, when it is killed and when its store is lost too.
func TestAnybodyCanReceiveRecords(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine")
	}
	m := uplinktest.Start(t, "mosquitto")
	host, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		t.Fatal(err)
	}
	uplinktest.Need(t, "mosquitto_pub")
	dir := t.TempDir()
	receive := func(store string) (said *uplinktest.Log, kill func()) {
		said = new(uplinktest.Log)
		cmd := exec.Command(python, docs+"receive-records.py", filepath.Join(dir, store), "-h", host, "-p", port)
		cmd.Stdout, cmd.Stderr = said, said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // mosquitto_sub too
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		kill = func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-done }
		t.Cleanup(func() {
			kill()
			if t.Failed() {
				t.Log(said.String())
			}
		})
		return said, kill
	}
	s := openSite(t, t.TempDir())
	end := func(id string) {
		t.Helper()
		e := session.TransactionEvent{EventType: session.Ended, TransactionID: id, SeqNo: 1, Account: "Zoë <1>", Energy: 750, Seconds: 60}
		if err := s.ledger.Commit(t.Context(), session.Commit{Records: []session.Record{e}}); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := s.connect(m.Broker(), func(*uplink.Opts) {})
	defer stop()

	_, kill := receive("store.db")
	until(t, "it listens", func() bool { return strings.Contains(m.Log(), "Sending SUBACK to receive-records") })
	end("t1")
	until(t, "all is acknowledged", func() bool { o := s.outbox(); return o.Committed == o.End })
	kill()
	end("t2")
	var said *uplinktest.Log
	said, kill = receive("store.db")
	until(t, "all is acknowledged after it was killed", func() bool { o := s.outbox(); return o.Committed == o.End })
	if said.Has(" t1 ") || !said.Has("gw-1 t2 Zoë <1> 750 Wh 60 s\n") {
		t.Errorf("got %q, want the second session, once", said.String())
	}
	kill()

	said, _ = receive("another.db") // the store is lost
	end("t3")
	until(t, "everything came again", func() bool {
		o := s.outbox()
		return said.Has(" t1 ") && said.Has(" t2 ") && said.Has(" t3 ") && o.Committed == o.End
	})
	if n := strings.Count(said.String(), "\n"); n != 3 {
		t.Errorf("got %q, want three sessions", said.String())
	}
}
