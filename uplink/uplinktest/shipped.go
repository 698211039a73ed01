package uplinktest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"badged/uplink"
)

// Shipped is a Mosquitto that runs the files of this project's folder mosquitto,
// with other paths and port, by an authority that its ca.sh made.
type Shipped struct {
	*Server
	files    string // the folder mosquitto
	password bool
}

// StartShipped starts it with the listener of a file, certificates.conf or
// passwords.conf; files is the path to the folder mosquitto. What acl says is put
// behind the access list that ships.
func StartShipped(t testing.TB, files, listener, acl string) *Shipped {
	t.Helper()
	files, err := filepath.Abs(files)
	if err != nil {
		t.Fatal(err)
	}
	s := &Shipped{newServer(t), files, listener == "passwords.conf"}
	s.broker = uplink.Broker{URL: "tls://" + s.Addr, CA: filepath.Join(s.dir, "certs", "ca.pem")}
	s.mkdir("certs")
	s.mkdir("conf.d")
	s.ca("init", "127.0.0.1")
	s.file("passwords", "")
	s.file("conf.d/listener.conf", s.shipped(listener))
	s.file("acl", s.shipped("acl")+acl)
	config := s.file("mosquitto.conf", "user root\n"+s.shipped("mosquitto.conf"))
	s.start = func() func(syscall.Signal) { return s.program(nil, "mosquitto", "-c", config) }
	s.open()
	return s
}

// shipped reads a file, with the paths and the port of this broker.
func (s *Shipped) shipped(name string) string {
	b, err := os.ReadFile(filepath.Join(s.files, name))
	if err != nil {
		s.t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(s.Addr)
	return strings.NewReplacer("/etc/mosquitto", s.dir, "/var/lib/mosquitto", s.dir, "listener 8883", "listener "+port+" "+host).Replace(string(b))
}

func (s *Shipped) mkdir(name string) {
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Shipped) ca(args ...string) {
	s.t.Helper()
	cmd := exec.Command("sh", append([]string{filepath.Join(s.files, "ca.sh")}, args...)...)
	cmd.Dir = filepath.Join(s.dir, "certs")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("ca.sh %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// As is how to reach the broker as somebody, who gets a certificate or a password
// the first time. A new password takes a Reload to count.
func (s *Shipped) As(name string) uplink.Broker {
	s.t.Helper()
	b, certs := s.broker, filepath.Join(s.dir, "certs")
	if s.password {
		b.User, b.PasswordFile = name, filepath.Join(certs, name+".password")
		if _, err := os.Stat(b.PasswordFile); err != nil {
			s.file("certs/"+name+".password", "of-"+name+"\n")
			out, err := exec.Command(Need(s.t, "mosquitto_passwd"), "-b", filepath.Join(s.dir, "passwords"), name, "of-"+name).CombinedOutput()
			if err != nil {
				s.t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
			}
		}
		return b
	}
	b.Cert, b.Key = filepath.Join(certs, name+".pem"), filepath.Join(certs, name+".key")
	if _, err := os.Stat(b.Key); err != nil {
		s.ca("issue", name)
	}
	return b
}

// Reload has it read access list and passwords again.
func (s *Shipped) Reload() { s.end(syscall.SIGHUP) }

// Revoke takes the certificate of somebody back.
func (s *Shipped) Revoke(name string) {
	s.t.Helper()
	s.ca("revoke", name)
}

// SetACL puts text behind the access list that ships, in the place of what stood
// there. It takes a Reload to count.
func (s *Shipped) SetACL(text string) { s.file("acl", s.shipped("acl")+text) }
