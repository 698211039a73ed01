package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
)

// wantCheck holds one check against a state and a part of its line.
func wantCheck(t *testing.T, got control.Check, state control.CheckState, part string) {
	t.Helper()
	if line := got.Text + "; " + got.Do; got.State != state || !strings.Contains(line, part) {
		t.Errorf("got %s %s: %s, want %s with %q", got.State, got.Name, line, state, part)
	}
	if (got.State == control.CheckOK) != (got.Do == "") {
		t.Errorf("got %+v, want advice if and only if not all is well", got)
	}
}

func TestDoctorReadsTheConfigAgain(t *testing.T) {
	h := newHouse(t, "tcp://127.0.0.1:1883")
	for name, c := range map[string]struct {
		edit  func(string) string
		state control.CheckState
		part  string
	}{
		"as it was": {func(s string) string { return s }, control.CheckOK, "1 readers, 1 stations"},
		"changed":   {func(s string) string { return strings.Replace(s, "1h", "2h", 1) }, control.CheckWarn, "systemctl restart badged"},
		"broken":    {func(s string) string { return strings.Replace(s, "laundry", "cinema", 1) }, control.CheckFail, "badged.toml:19: station[0].kind"},
		"key gone":  {func(s string) string { return strings.Replace(s, "list-keys", "no-keys", 1) }, control.CheckFail, "badgectl list keygen"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(benchConfig, "tcp://127.0.0.1:1", "tcp://127.0.0.1:1883", 1)
			if err := os.WriteFile(h.cfg.File, []byte(c.edit(doc)), 0o600); err != nil {
				t.Fatal(err)
			}
			in := h.cfg
			in.Version, in.Socket = "1.0", "/run/x"
			in.Broker.URL, _ = url.Parse("tcp://127.0.0.1:1883")
			wantCheck(t, examineConfig(in)[0], c.state, c.part)
		})
	}
}

// selfSigned writes a certificate and its key, good between two times.
func selfSigned(t *testing.T, dir, name string, from, until time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestDoctorJudgesCertificates(t *testing.T) {
	dir, day := t.TempDir(), 24*time.Hour
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	good, goodKey := selfSigned(t, dir, "good", now.Add(-day), now.Add(400*day))
	ending, _ := selfSigned(t, dir, "ending", now.Add(-day), now.Add(10*day))
	ended, _ := selfSigned(t, dir, "ended", now.Add(-2*day), now.Add(-day))
	early, _ := selfSigned(t, dir, "early", now.Add(day), now.Add(2*day))
	bundle := filepath.Join(dir, "bundle.pem")
	var all []byte
	for _, f := range []string{good, ended} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if err := os.WriteFile(bundle, all, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		state control.CheckState
		part  string
	}{
		good:                           {control.CheckOK, "400 days"},
		ending:                         {control.CheckWarn, "in 10 days; ask the office for a new one"},
		ended:                          {control.CheckFail, "has ended on 2027-02-28; ask the office for a new one, and put it in the place of "},
		early:                          {control.CheckFail, "check the clock"},
		bundle:                         {control.CheckFail, "ended (bundle.pem) has ended"},
		goodKey:                        {control.CheckFail, "no PEM certificate"},
		filepath.Join(dir, "gone.pem"): {control.CheckFail, "ask the office for a new badged-provision.toml"},
	} {
		t.Run(filepath.Base(path), func(t *testing.T) { wantCheck(t, checkDates(path, now), want.state, want.part) })
	}

	c := config.Config{Broker: config.Broker{URL: &url.URL{Scheme: "tls", Host: "b:8883"}, Cert: ending, Key: goodKey}}
	wantCheck(t, examineCertificates(c, now)[0], control.CheckFail, "must be a pair")
	c.Broker.Cert, c.Broker.CA = good, good
	for _, check := range examineCertificates(c, now) {
		wantCheck(t, check, control.CheckOK, "good until")
	}
	c.Broker.URL.Scheme = "tcp"
	wantCheck(t, examineCertificates(c, now)[0], control.CheckOK, "not encrypted")
}

func TestDoctorJudgesTheDisk(t *testing.T) {
	const block = 4096
	disk := func(freeMiB uint64) unix.Statfs_t {
		return unix.Statfs_t{Bsize: block, Blocks: 1 << 20, Bavail: freeMiB << 20 / block, Files: 1000, Ffree: 500}
	}
	roomy, little, full, readOnly, crowded := disk(2000), disk(100), disk(4), disk(2000), disk(2000)
	readOnly.Flags = unix.ST_RDONLY
	crowded.Ffree = 1
	for name, c := range map[string]struct {
		fs    *unix.Statfs_t
		state control.CheckState
		part  string
	}{
		"roomy": {&roomy, control.CheckOK, "2000 MiB free"}, "little": {&little, control.CheckWarn, "make room"},
		"full": {&full, control.CheckFail, "make room, no new session starts on a full disk: sudo journalctl"}, "read-only": {&readOnly, control.CheckFail, "replace the card"},
		"many files": {&crowded, control.CheckWarn, "999 of 1000 files"},
	} {
		t.Run(name, func(t *testing.T) { wantCheck(t, checkRoom("/var/lib/badged", c.fs), c.state, c.part) })
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, checkFiles(dir, unix.Access), control.CheckOK, "1 files")
	foreign := func(string, uint32) error { return unix.EACCES } // root may write anywhere
	mounted := t.TempDir()
	if err := os.Mkdir(filepath.Join(mounted, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, checkFiles(mounted, foreign), control.CheckOK, "1 files")
	wantCheck(t, checkFiles(dir, foreign), control.CheckFail, "list.db cannot be written: it belongs to another user than the one that runs badged; sudo chown -R")
	got := examineDisk(filepath.Join(t.TempDir(), "none"))
	wantCheck(t, got[0], control.CheckWarn, "is not there yet; start badged, it makes it")
	got = examineDisk("/proc/self/status/none")
	wantCheck(t, got[0], control.CheckFail, "run this as root")
}

// sysWith is a /sys with one eMMC, on whose first partition the test's files are.
func sysWith(t *testing.T, lifeTime string) (sys string) {
	t.Helper()
	sys = t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(sys, &st); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(sys, "devices/mmcblk0")
	for path, text := range map[string]string{
		"mmcblk0p2/partition": "2", "device/life_time": lifeTime, "stat": "1 0 8 0 5 0 2048000 9 0 0 0",
	} {
		if text == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(disk, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(disk, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	links := filepath.Join(sys, "dev/block")
	if err := os.MkdirAll(links, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(links, itoa(unix.Major(st.Dev))+":"+itoa(unix.Minor(st.Dev)))
	if err := os.Symlink(filepath.Join(disk, "mmcblk0p2"), name); err != nil {
		t.Fatal(err)
	}
	return sys
}

func itoa(n uint32) string { return new(big.Int).SetUint64(uint64(n)).String() }

func TestDoctorAsksTheCardForItsAge(t *testing.T) {
	for life, want := range map[string]struct {
		state control.CheckState
		part  string
	}{
		"0x01 0x01\n": {control.CheckOK, "at most 10 %"}, "0x02 0x0a\n": {control.CheckWarn, "90 to 100 %"},
		"0x0b 0x01\n": {control.CheckFail, "past its estimated life; replace"}, "0x00 0x00\n": {control.CheckOK, "does not tell"},
		"": {control.CheckOK, "1000 MiB"},
	} {
		t.Run(life, func(t *testing.T) {
			sys := sysWith(t, life)
			wantCheck(t, checkWear(sys, sys), want.state, want.part)
		})
	}
	wantCheck(t, checkWear(t.TempDir(), "/proc"), control.CheckOK, "unknown")
}

func TestDoctorAsksForTheBrokersAddress(t *testing.T) {
	wantCheck(t, checkName(t.Context(), "192.0.2.7"), control.CheckOK, "not needed")
	wantCheck(t, checkName(t.Context(), "localhost"), control.CheckOK, "localhost is ")
	wantCheck(t, checkName(t.Context(), "broker.invalid"), control.CheckFail, "check broker.url letter by letter")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wantCheck(t, checkName(gone, "broker.example"), control.CheckFail, "check the network of this board: cable or SIM")
}
