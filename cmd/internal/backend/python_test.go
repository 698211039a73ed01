package backend_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/backend"
	"badged/session"
)

// mosquitto is a broker that we did not write.
func mosquitto(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listener %d 127.0.0.1\nallow_anonymous true\n", addr.Port), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	cmd := exec.Command(program, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatalf("no mosquitto on this machine: make test installs it, or sudo apt-get install mosquitto: %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	until(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

// docs/publish-list.py was written from docs/backend.md: what it publishes is a
// list to a gateway.
func TestAnybodyCanPublishAList(t *testing.T) {
	for _, program := range []string{"python3", "openssl", "mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s on this machine", program)
		}
	}
	dir, addr := t.TempDir(), mosquitto(t)
	if err := backend.Keygen(dir); err != nil {
		t.Fatal(err)
	}
	keys, err := backend.ReadKeys(filepath.Join(dir, backend.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	b := backend.BrokerOpts{URL: "tcp://" + addr.String()}
	publish := func(store string, list []session.Entry) (string, error) {
		t.Helper()
		if list == nil {
			list = []session.Entry{}
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "entries.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "python3", docs+"publish-list.py", filepath.Join(dir, store), "desk", filepath.Join(dir, backend.KeyFile), file,
			"-h", addr.IP.String(), "-p", fmt.Sprint(addr.Port)).CombinedOutput()
		return string(out), err
	}
	f := newFollower(t, b, keys, publicOf())
	f.start()
	all := entries(t, badges(0, 4500))
	blocked := append([]session.Entry{}, all[:4400]...)
	blocked[7].Status, blocked[7].Language, blocked[7].Stations = session.Blocked, "it", []string{"washer", "dryer"}
	for i, c := range []struct {
		list []session.Entry
		says string
	}{
		{all, "version 1.3: 4500 badges, 4500 put, 0 removed"},
		{blocked, "version 1.4: 4400 badges, 1 put, 100 removed"},
		{blocked, "version 1.4: 4400 badges, 0 put, 0 removed"},
		{nil, "0 badges, 0 put, 4400 removed"},
	} {
		out, err := publish("store", c.list)
		if err != nil || !strings.Contains(out, c.says) {
			t.Fatalf("push %d: got %s, %v, want %q", i+1, out, err, c.says)
		}
		h, got, err := backend.Verify(t.Context(), b, "desk", keys)
		if err != nil || len(got) != len(c.list) {
			t.Fatalf("push %d: got %d badges, %v, want %d", i+1, len(got), err, len(c.list))
		}
		until(t, "the gateway has it", func() bool { v, err := f.list.InForce(t.Context()); return err == nil && v == h.At() })
		if i == 2 {
			l, err := f.list.Lookup(t.Context(), blocked[7].UID)
			if err != nil || l.Entry.Status != session.Blocked || len(l.Entry.Stations) != 2 {
				t.Errorf("got %+v, %v, want the badge blocked", l.Entry, err)
			}
		}
	}
	if out, err := publish("elsewhere", all); err == nil || !strings.Contains(out, "second publisher") {
		t.Errorf("from another store: got %s, %v, want it refused", out, err)
	}
	if len(f.refused) > 0 {
		t.Errorf("the gateway refused %q", f.refused)
	}
}
