package gateway

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// chronyd runs a real one that leaves this host's clock alone and returns where it
// answers.
func chronyd(t *testing.T, config string) string {
	t.Helper()
	path, err := exec.LookPath("chronyd")
	if err != nil {
		path = "/usr/sbin/chronyd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("no chronyd here: install package chrony to run this against the real one")
	}
	if os.Getuid() != 0 {
		t.Skip("chronyd wants to be started by root")
	}
	dir := t.TempDir()
	port := freePort(t)
	config += fmt.Sprintf("\nbindcmdaddress 127.0.0.1\nbindcmdaddress /\ncmdport %d\npidfile %s\n", port, filepath.Join(dir, "pid"))
	file := filepath.Join(dir, "chrony.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-d", "-x", "-u", "root", "-f", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func TestChronyThatIsSynchronised(t *testing.T) {
	t.Parallel()
	ntp := freePort(t)
	server := chronyd(t, fmt.Sprintf("local stratum 3\nallow 127.0.0.1\nport %d\nbindaddress 127.0.0.1", ntp))
	client := chronyd(t, fmt.Sprintf("server 127.0.0.1 port %d iburst minpoll -2 maxpoll 0\nport 0", ntp))
	for end := time.Now().Add(time.Minute); !chronySynced(t.Context(), client); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("got no synchronised clock within a minute, want chrony's word")
		}
	}
	if chronySynced(t.Context(), server) {
		t.Error("got a synchronised clock of a chronyd that nobody told the time, want none")
	}
}

func TestChronyThatIsNot(t *testing.T) {
	t.Parallel()
	lonely := chronyd(t, fmt.Sprintf("server 127.0.0.1 port %d\nport 0", freePort(t)))
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if chronySynced(t.Context(), lonely) {
			t.Fatal("got a synchronised clock without a server, want none")
		}
	}
	if chronySynced(t.Context(), fmt.Sprintf("127.0.0.1:%d", freePort(t))) {
		t.Error("got a synchronised clock where nobody answers, want none")
	}
}
