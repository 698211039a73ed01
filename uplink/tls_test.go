package uplink_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"badged/uplink"
	"badged/uplink/uplinktest"
)

// pki is a folder with an authority, a broker's certificate and a gateway's.
func pki(t *testing.T) (file func(string) string, issue func(name string, serial int64)) {
	t.Helper()
	dir := t.TempDir()
	ca, key := certify(t, dir, "ca", 1, nil, nil)
	issue = func(name string, serial int64) { certify(t, dir, name, serial, ca, key) }
	issue("broker", 2)
	issue("gw-1", 3)
	certify(t, dir, "stranger", 4, nil, nil)
	return func(name string) string { return filepath.Join(dir, name) }, issue
}

// secured is a Mosquitto that wants certificates, and takes the names in them for
// user names.
func secured(t *testing.T, file func(string) string) (*uplinktest.Server, string) {
	t.Helper()
	m := uplinktest.Mosquitto(t, fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\nuse_identity_as_username true\ntls_version tlsv1.2",
		file("ca.pem"), file("broker.pem"), file("broker.key")))
	return m, "tls://" + m.Addr
}

func replace(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreTakenUpWithoutARestart(t *testing.T) {
	file, issue := pki(t)
	m, url := secured(t, file)
	o := opts(url, newMemory())
	o.Broker.CA, o.Broker.Cert, o.Broker.Key = file("ca.pem"), file("gw-1.pem"), file("gw-1.key")
	o.FilesInterval = 50 * time.Millisecond
	var told atomic.Value
	o.OnFault = func(text string) { told.Store(text) }
	c := run(t, o)
	until(t, "connected", func() bool { return !c.Offline() && strings.Contains(m.Log(), "u'gw-1'") })
	first := c.State().Nonce

	issue("renewed", 5)
	replace(t, file("gw-1.key"), file("renewed.key"))
	until(t, "a key without its certificate is said", func() bool { return strings.Contains(c.State().Fault, "cannot be used") })
	if s := c.State(); !s.Connected || s.Nonce != first || told.Load() != s.Fault {
		t.Errorf("got %+v and told %v, want the connection that there was, and the fault told", s, told.Load())
	}
	replace(t, file("gw-1.pem"), file("renewed.pem"))
	until(t, "a connection with the new certificate", func() bool {
		return !c.Offline() && c.State().Nonce != first && strings.Contains(m.Log(), "u'renewed'")
	})
	if s := c.State(); s.Fault != "" {
		t.Errorf("fault: got %q, want none", s.Fault)
	}
	second := c.State().Nonce
	replace(t, file("gw-1.pem"), file("renewed.pem")) // written again, the same
	m.Kill()
	until(t, "the broker is away", c.Offline)
	m.Run()
	until(t, "back", func() bool { return !c.Offline() && c.State().Nonce != second })
}

// No file that is named for the broker is read for ever, or waited for.
func TestFilesOfTheBrokerHaveAnEnd(t *testing.T) {
	file, _ := pki(t)
	pipe := file("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	m := uplinktest.Start(t, "mochi")
	for what, tc := range map[string]struct {
		b    uplink.Broker
		says string
	}{
		"authority":            {uplink.Broker{URL: "tls://" + m.Addr, CA: "/dev/zero"}, "read broker ca: /dev/zero: larger than 1 MiB"},
		"authority in a pipe":  {uplink.Broker{URL: "tls://" + m.Addr, CA: pipe}, "no PEM certificate in it"},
		"certificate":          {uplink.Broker{URL: "tls://" + m.Addr, Cert: "/dev/zero", Key: file("gw-1.key")}, "read client certificate: /dev/zero: larger than 1 MiB"},
		"key":                  {uplink.Broker{URL: "tls://" + m.Addr, Cert: file("gw-1.pem"), Key: "/dev/zero"}, "read client certificate: /dev/zero: larger than 1 MiB"},
		"another's key":        {uplink.Broker{URL: "tls://" + m.Addr, Cert: file("gw-1.pem"), Key: file("stranger.key")}, "private key does not match"},
		"password":             {uplink.Broker{URL: "tcp://" + m.Addr, PasswordFile: "/dev/zero"}, "read broker password: /dev/zero: larger than 1 MiB"},
		"folder as a password": {uplink.Broker{URL: "tcp://" + m.Addr, PasswordFile: t.TempDir()}, "is a directory"},
	} {
		c, err := uplink.Dial(t.Context(), tc.b, uplink.Session{ClientID: "gw-1"})
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want %q", what, err, tc.says)
		}
	}
}

func TestNewFilesEndTheWaitForTheNextAttempt(t *testing.T) {
	file, _ := pki(t)
	_, url := secured(t, file)
	o := opts(url, newMemory())
	o.Broker.CA, o.Broker.Cert, o.Broker.Key = file("stranger.pem"), file("gw-1.pem"), file("gw-1.key")
	o.FilesInterval = 20 * time.Millisecond
	o.RetryMin, o.RetryMax = 10*time.Hour, 20*time.Hour
	c := start(t, o)
	until(t, "the broker is not trusted", func() bool { return strings.Contains(c.State().Err, "check broker.ca") })
	replace(t, file("stranger.pem"), file("ca.pem"))
	until(t, "connected", func() bool { return !c.Offline() })
}

func TestPasswordsAreTakenUpWithoutARestart(t *testing.T) {
	var last atomic.Value
	url := broker(t, &door{knows: func(user, password string) bool { last.Store(user + " " + password); return true }})
	o := opts(url, newMemory())
	o.Broker.PasswordFile = filepath.Join(t.TempDir(), "password")
	write := func(s string) {
		if err := os.WriteFile(o.Broker.PasswordFile, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	o.FilesInterval = 20 * time.Millisecond
	c := run(t, o)
	until(t, "logged in", func() bool { return !c.Offline() && last.Load() == "gw-1 first" })
	write("second\n")
	until(t, "logged in anew", func() bool { return !c.Offline() && last.Load() == "gw-1 second" })
}

// A clock that was never set is before every certificate: the floor is not.
func TestCertificatesAreCheckedByTheClockThatIsGiven(t *testing.T) {
	file, _ := pki(t)
	_, url := secured(t, file)
	b := uplink.Broker{URL: url, CA: file("ca.pem"), Cert: file("gw-1.pem"), Key: file("gw-1.key")}
	b.Time = func() time.Time { return time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC) }
	if _, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "gw-1"}); err == nil || !strings.Contains(err.Error(), "this board's clock") {
		t.Errorf("in 1970: got %v, want a hint at the clock", err)
	}
	b.Time = time.Now
	c, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "gw-1"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestBrokersThatRefuseACertificateAreUnderstood(t *testing.T) {
	file, _ := pki(t)
	_, url := secured(t, file)
	for what, b := range map[string]uplink.Broker{
		"no certificate":  {URL: url, CA: file("ca.pem")},
		"of nobody known": {URL: url, CA: file("ca.pem"), Cert: file("stranger.pem"), Key: file("stranger.key")},
	} {
		if _, err := uplink.Dial(t.Context(), b, uplink.Session{ClientID: "gw-1"}); err == nil || !strings.Contains(err.Error(), "check broker.cert") {
			t.Errorf("%s: got %v, want a hint at broker.cert", what, err)
		}
	}
}

func TestWrongURLsSayWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"127.0.0.1:1883":        "want one such as tls://",
		"broker.example.org":    "want tcp://",
		"http://127.0.0.1:1883": "want tcp://",
	} {
		if _, err := uplink.Dial(t.Context(), uplink.Broker{URL: url}, uplink.Session{ClientID: "gw-1"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", url, err, want)
		}
	}
}

// TLS where none is spoken, and none where it is: whoever reads it knows to change the
// scheme or the port. The servers are a Mosquitto, one in Go, and one that says what
// OpenSSL's do before they hang up.
func TestTheOtherKindOfPortIsSaid(t *testing.T) {
	file, _ := pki(t)
	pair, err := tls.LoadX509KeyPair(file("broker.pem"), file("broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	goTLS := hostile(t, func(c net.Conn) {
		_, _ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}).Read(make([]byte, 1)) // the handshake
	})
	alerts := hostile(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, 70}) // a fatal alert, protocol_version
		_, _ = io.Copy(io.Discard, c)
	})
	silent := hostile(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) })
	web := hostile(t, func(c net.Conn) {
		_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		_, _ = io.Copy(io.Discard, c)
	})
	plain := uplinktest.Mosquitto(t, "allow_anonymous true").Addr
	open := uplinktest.Mosquitto(t, fmt.Sprintf("allow_anonymous true\ncertfile %s\nkeyfile %s", file("broker.pem"), file("broker.key"))).Addr
	mutual, _ := secured(t, file)
	const wantTLS, wantPlain = "wants tls://", "this one seems to be without TLS"
	for what, tc := range map[string]struct{ url, want string }{
		"TLS of Mosquitto":                {"tcp://" + open, wantTLS},
		"that wants certificates":         {"tcp://" + mutual.Addr, wantTLS},
		"TLS of Go":                       {goTLS, wantTLS},
		"TLS that says so":                {alerts, "this port is for TLS, so it " + wantTLS},
		"none of Mosquitto":               {"tls://" + plain, wantPlain},
		"none, and nothing for an answer": {"ssl" + strings.TrimPrefix(silent, "tcp"), wantPlain},
		"none, and words for an answer":   {"tls" + strings.TrimPrefix(web, "tcp"), "what answers there is not TLS"},
		"certificates wanted":             {"tls://" + mutual.Addr, "check broker.c"},
	} {
		c, err := uplink.Dial(t.Context(), uplink.Broker{URL: tc.url}, uplink.Session{ClientID: "gw-1"})
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), "hint: ") != 1 {
			t.Errorf("%s: got %v, want one hint with %q", what, err, tc.want)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	file, _ := pki(t)
	pair, err := tls.LoadX509KeyPair(file("broker.pem"), file("broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	for version, works := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		uplinktest.Serve(t, l, answers(good))
		c, err := uplink.Dial(t.Context(), uplink.Broker{URL: "tls://" + l.Addr().String(), CA: file("ca.pem")}, uplink.Session{ClientID: "gw-1"})
		if err == nil {
			c.Close()
		}
		if (err == nil) != works {
			t.Errorf("%s: got %v, want it to work: %t", tls.VersionName(version), err, works)
		}
	}
}

func TestTwoBoardsWithOneIdentityAreRecognised(t *testing.T) {
	m := uplinktest.Mosquitto(t, "allow_anonymous true")
	one, other := newMemory(), newMemory()
	c := run(t, opts(m.Broker().URL, one))
	run(t, opts(m.Broker().URL, other))
	until(t, "it is said", func() bool {
		return strings.Contains(c.State().Fault, `another client connected as "gw-1"`) && strings.Contains(c.State().Err, "another client")
	})
	one.record(3)
	until(t, "records go out between two takeovers", func() bool { o, _ := one.Outbox(t.Context()); return o.Taken == 3 })
}

// What fails before any broker speaks says what to look at first.
func TestNoConnectionSaysWhatToCheck(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no such name":      {&net.DNSError{Err: "no such host", IsNotFound: true}, "broker.url letter by letter"},
		"no name service":   {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, "cable or SIM"},
		"no broker there":   {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "ask the broker's operator whether it runs"},
		"no way":            {&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, "cable or SIM"},
		"no answer":         {context.DeadlineExceeded, "cable or SIM"},
		"a certificate old": {x509.CertificateInvalidError{Reason: x509.Expired}, "check this board's clock"},
		"told already":      {errors.New("no\nhint: such"), ""},
		"nobody knows":      {errors.New("no"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := uplink.Hint(fmt.Errorf("network error: %w", c.err))
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || c.want != "" && !strings.HasPrefix(got, "\nhint: ") {
				t.Errorf("got %q, want a hint with %q", got, c.want)
			}
		})
	}
	_, err := uplink.Dial(t.Context(), uplink.Broker{URL: "tcp://127.0.0.1:1"}, uplink.Session{ClientID: "gw-1"})
	if err == nil || !strings.Contains(err.Error(), "\nhint: ask the broker's operator whether it runs") {
		t.Errorf("got %v, want a hint", err)
	}
}
