package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/backend"
)

var update = flag.Bool("update", false, "write the golden texts anew")

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const template = `# the laundry of via Roma
[gateway]
id = "gw-0"
site = "via-roma-12"
billing = "managed"
state = "/var/lib/badged"
site_key = "site.key"
[broker]
url = "tls://broker.example.org:8883"
ca = "ca.pem"
[list]
name = "via-roma-12"
keys = "list-keys.jwks"
[commands]
keys = "command-keys.jwks"
[[reader]]
name = "hall"
spi = "/dev/spidev0.0"
[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO17"
run_time = "90m"
[panel]
green = "GPIO5"
red = "GPIO6"
`

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// newSite is an office's folder: template, keys, and an authority.
func newSite(t *testing.T) Maker {
	t.Helper()
	dir := t.TempDir()
	if err := backend.Keygen(dir); err != nil {
		t.Fatal(err)
	}
	if err := backend.CommandKeygen(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "site.key"), strings.Repeat("a7", 32)+"\n", 0o600)
	write(t, filepath.Join(dir, "badged.toml"), template, 0o644)
	ca, key := newAuthority(t)
	write(t, filepath.Join(dir, "ca.pem"), ca, 0o644)
	write(t, filepath.Join(dir, "ca.key"), key, 0o600)
	a, err := ReadAuthority(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key"), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return Maker{Template: filepath.Join(dir, "badged.toml"), Authority: a, Now: noon}
}

func newAuthority(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

// file makes the file of gw-7, with more values after it.
func (m Maker) file(t *testing.T, values ...string) string {
	t.Helper()
	o := Order{Values: map[string]string{"gateway.id": "gw-7"}}
	for i := 0; i < len(values); i += 2 {
		o.Values[values[i]] = values[i+1]
	}
	made, err := m.Make([]Order{o})
	if err != nil {
		t.Fatal(err)
	}
	return string(made[0].Doc)
}

// newRoot is a board's system that the package has been installed on.
func newRoot(t *testing.T, serial string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc/badged", "boot/firmware", "var/lib/badged"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nbadged:x:997:996::/var/lib/badged:/usr/sbin/nologin\n", 0o644)
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\nbadged:x:996:\n", 0o644)
	write(t, filepath.Join(root, "proc/sys/kernel/random/boot_id"), "6d0b1a8e-0c1e-4bb0-9c5e-2f3f2d1a0b11\n", 0o644)
	write(t, filepath.Join(root, "sys/class/leds/ACT/trigger"), "none timer [mmc0]", 0o644)
	setSerial(t, root, serial)
	return root
}

func setSerial(t *testing.T, root, serial string) {
	t.Helper()
	write(t, filepath.Join(root, "proc/device-tree/serial-number"), serial+"\x00", 0o644)
}

func onCard(root string) string { return filepath.Join(root, "boot/firmware", FileName) }

// insert puts a file onto the boot partition.
func insert(t *testing.T, root, doc string) {
	t.Helper()
	write(t, onCard(root), doc, 0o644)
}

// boot is a start of the board.
func boot(t *testing.T, root string) (Report, error) {
	t.Helper()
	b, err := OpenBoard(root)
	if err != nil {
		t.Fatal(err)
	}
	b.now = func() time.Time { return noon }
	return b.Boot(false)
}

// provisioned boots with doc on the card, which must go well.
func provisioned(t *testing.T, root, doc string) Report {
	t.Helper()
	insert(t, root, doc)
	r, err := boot(t, root)
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Text)
	}
	return r
}

// result is what the technician reads.
func result(t *testing.T, root string) string {
	t.Helper()
	text := read(t, filepath.Join(root, "boot/firmware", ResultName))
	plain := strings.ReplaceAll(text, "\r\n", "\n")
	if strings.Count(text, "\n") != strings.Count(text, "\r\n") || strings.Contains(plain, "\r") {
		t.Errorf("got %q, want CRLF at the end of every line", text)
	}
	return plain
}

func inForce(t *testing.T, root string) string {
	t.Helper()
	return read(t, filepath.Join(root, "etc/badged", configName))
}

// verdictOf is what the daemon would say of the configuration on trial.
func trialOf(t *testing.T, root string) *Trial {
	t.Helper()
	trial, err := OpenTrial(filepath.Join(root, "etc/badged", configName), filepath.Join(root, stateFolder))
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, got, 0o644)
	}
	if want := read(t, path); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
