// Package uplinktest runs a real Mosquitto for tests: what a broker that we did
// not write makes of us.
package uplinktest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Mosquitto is a broker on a port of its own on loopback, in a process of its own.
type Mosquitto struct {
	Addr string // host and port

	t   testing.TB
	cmd *exec.Cmd
	log log
	dir string
}

// Start runs a broker with the lines of its config that follow the listener's,
// and ends it with the test. It keeps nothing of its own accord when it is killed.
func Start(t testing.TB, lines string) *Mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	m := &Mosquitto{Addr: addr.String(), t: t, dir: t.TempDir()}
	// Started by root it would become another user, who reads no test's files.
	conf := fmt.Sprintf("user root\nlog_type all\nlistener %d 127.0.0.1\n%s\n", addr.Port, lines)
	if err := os.WriteFile(filepath.Join(m.dir, "mosquitto.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Run()
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			t.Log(m.Log())
		}
	})
	return m
}

// URL is the broker's, without TLS.
func (m *Mosquitto) URL() string { return "tcp://" + m.Addr }

// Run starts the broker, again after Kill, and waits until it listens.
func (m *Mosquitto) Run() {
	m.t.Helper()
	m.cmd = exec.Command(Need(m.t, "mosquitto"), "-c", filepath.Join(m.dir, "mosquitto.conf"))
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", m.Addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("mosquitto does not listen:\n%s", m.Log())
		}
	}
}

// Kill ends the broker as a crash does: it saves nothing.
func (m *Mosquitto) Kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// Log is what the broker has said so far.
func (m *Mosquitto) Log() string { return m.log.String() }

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Need finds a program that the machine must have, wherever Debian keeps it.
func Need(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("no %s on this machine: make test installs it, or sudo apt-get install mosquitto mosquitto-clients", name)
	return ""
}
