// Package uplinktest runs brokers for tests, most of them ones that we did not
// write: each on a port of its own on loopback, with a folder of its own, gone with
// the test.
package uplinktest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"badged/uplink"
)

// startTimeout is generous: RabbitMQ takes ten seconds on an idle machine.
const startTimeout = 2 * time.Minute

// Server is a broker that can go away and come back at its address.
type Server struct {
	Addr string // host and port

	t      testing.TB
	dir    string // what it keeps
	broker uplink.Broker
	log    Log
	start  func() (end func(syscall.Signal))
	end    func(syscall.Signal) // nil while it is away
}

func newServer(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	return &Server{t: t, dir: t.TempDir(), Addr: addr, broker: uplink.Broker{URL: "tcp://" + addr}}
}

// open runs the server until the end of the test.
func (s *Server) open() *Server {
	s.t.Helper()
	s.Run()
	s.t.Cleanup(func() {
		s.Stop()
		if s.t.Failed() {
			s.t.Log(s.Log())
		}
	})
	return s
}

// Broker is how to reach it.
func (s *Server) Broker() uplink.Broker { return s.broker }

// Log is what it has said so far.
func (s *Server) Log() string { return s.log.String() }

// Run starts the broker, again after Kill or Stop, and waits until it listens.
func (s *Server) Run() {
	s.t.Helper()
	s.end = s.start()
	for late := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(late) {
			s.t.Fatalf("the broker does not listen:\n%s", s.Log())
		}
	}
}

// Stop ends the broker in good order.
func (s *Server) Stop() { s.over(syscall.SIGTERM) }

// Kill ends the broker as a crash does: it saves nothing.
func (s *Server) Kill() { s.over(syscall.SIGKILL) }

func (s *Server) over(sig syscall.Signal) {
	if s.end != nil {
		s.end(sig)
		s.end = nil
	}
}

// Forget has a broker that is away lose all that it kept.
func (s *Server) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// file writes a file of the broker's and returns its path.
func (s *Server) file(name, content string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// program starts a program in a group of its own, so that its children go with it.
func (s *Server) program(env []string, name string, args ...string) (end func(syscall.Signal)) {
	cmd := exec.Command(Need(s.t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func(sig syscall.Signal) {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, sig)
		if sig == syscall.SIGHUP {
			return
		}
		late := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		defer late.Stop()
		_ = cmd.Wait() // the exit code after a signal says nothing
	}
}

// Log keeps what programs and loggers write. The zero value is ready; it is safe for
// concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer's.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Has tells whether a text was written.
func (l *Log) Has(text string) bool { return strings.Contains(l.String(), text) }

// Serve gives each connection to serve, and closes it after that, until the test ends.
func Serve(t testing.TB, l net.Listener, serve func(net.Conn)) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// Need finds a program that the machine must have, wherever Debian keeps it.
func Need(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("no %s on this machine: make test and make brokers install what they need", name)
	return ""
}
