package uplink_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"badged/uplink"
)

// T2: paho reports success for messages that nobody received when it may
// reconnect. Fifty records go into a network that swallows them; after a cut all
// must still arrive.
func TestT2_RecordsThatANetworkSwallowedAreNotTaken(t *testing.T) {
	url := broker(t)
	p := newProxy(t, url)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	c := run(t, opts(p.url(), m))
	m.record(1)
	until(t, "the first is taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 1 })
	first := c.State().Nonce
	p.set(func(p *proxy) { p.swallow = true })
	m.record(49)
	until(t, "everything is in flight", func() bool { return len(m.changed) == 0 })
	p.cut()
	p.set(func(p *proxy) { p.swallow = false })
	for seq := 1; seq <= 50; seq++ {
		if in := next(t, backend); !strings.Contains(string(in.Payload), fmt.Sprintf(`"seq":%d,`, seq)) {
			t.Fatalf("got %s, want seq %d", in.Payload, seq)
		}
	}
	until(t, "all are taken", func() bool { o, _ := m.Outbox(t.Context()); return o.Taken == 50 })
	if again := c.State().Nonce; again == first || len(again) < 16 {
		t.Errorf("nonce: got %q after %q, want a new one for each connection", again, first)
	}
}

// T3: cut between PUBACK and the mark: again, never lost.
func TestT3_RecordsComeAgainWhenThePubackIsLost(t *testing.T) {
	url := broker(t)
	backend := dial(t, url, "backend", uplink.AllEvents)
	m := newMemory()
	p := newProxy(t, url)
	c := run(t, opts(p.url(), m))
	for round := range 5 {
		until(t, "connected", func() bool { return !c.Offline() })
		m.record(7)
		until(t, "some arrived", func() bool { return len(backend.Messages()) > round })
		p.cut()
	}
	seen := map[uint64]bool{}
	for len(seen) < 35 {
		var e struct{ Seq uint64 }
		if err := json.Unmarshal(next(t, backend).Payload, &e); err != nil {
			t.Fatal(err)
		}
		if e.Seq > 1 && !seen[e.Seq-1] {
			t.Fatalf("got seq %d before %d", e.Seq, e.Seq-1)
		}
		seen[e.Seq] = true
	}
}

// T7: a peer that takes everything and says nothing.
func TestT7_ABlackHoleIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		session uplink.Session
		records int
	}{
		"with nothing to send":    {uplink.Session{KeepAlive: time.Second}, 0},
		"with records in flight":  {uplink.Session{KeepAlive: time.Hour, AnswerTimeout: time.Second}, 3},
		"with more than it takes": {uplink.Session{KeepAlive: time.Hour, AnswerTimeout: time.Second}, 300},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, broker(t))
			m := newMemory()
			o := opts(p.url(), m)
			o.Session = c.session
			g := run(t, o)
			until(t, "connected", func() bool { return !g.Offline() })
			p.set(func(p *proxy) { p.swallow = true })
			m.record(c.records)
			until(t, "noticed", g.Offline)
			p.set(func(p *proxy) { p.swallow = false })
			until(t, "all are taken", func() bool { o, _ := m.Outbox(t.Context()); return !g.Offline() && o.Taken == uint64(c.records) })
		})
	}
}

// T7: a peer that takes nothing. Whatever is written, it is not waited for long:
// paho's own timeout is for messages only.
func TestT7_WritesToAFullPeerEnd(t *testing.T) {
	here, there := net.Pipe() // nobody reads from it
	defer there.Close()
	told := make(chan error, 1)
	g := uplink.GuardWithin(here, 10*time.Millisecond, func(err error) { told <- err })
	_ = g.SetWriteDeadline(time.Time{}) // as paho does after each message
	ping := []byte{0xC0, 0}
	if _, err := g.Write(ping); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	if err := <-told; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("told: got %v, want a deadline", err)
	}
}

func TestOnlineIsSaidAndTakenBack(t *testing.T) {
	url := broker(t)
	watch := dial(t, url, "watch", uplink.GatewayTopics("gw-1").Online(), uplink.GatewayTopics("gw-1").Status())
	p := newProxy(t, url)
	o := opts(p.url(), newMemory())
	o.Status = func() any { return map[string]string{"clock": "unknown"} }
	run(t, o)
	online := next(t, watch).Payload
	got := next(t, watch).Payload
	if bytes.Equal(got, online) { // once as it came and once as retained
		got = next(t, watch).Payload
	}
	if string(online) != `{"online":true}` || string(got) != `{"clock":"unknown"}` {
		t.Errorf("got %s and %s, want online and the status", online, got)
	}
	p.set(func(p *proxy) { p.l.Close() })
	p.cut()
	if got := string(next(t, watch).Payload); got != `{"online":false}` {
		t.Errorf("got %s, want the will", got)
	}
}

func TestRefusedCredentialsAreAState(t *testing.T) {
	d := &door{knows: func(user, password string) bool { return user == "gw-1" && password == "right" }}
	url := broker(t, d)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := opts(url, newMemory())
	o.Broker.PasswordFile = file
	c := run(t, o)
	until(t, "refused", func() bool {
		return strings.Contains(c.State().Err, "refuses the credentials") && c.State().Attempts > 1
	})
	if _, err := uplink.Dial(t.Context(), uplink.Broker{URL: url}, uplink.Session{ClientID: "x"}); !errors.Is(err, uplink.ErrCredentials) {
		t.Errorf("Dial: got %v, want ErrCredentials", err)
	}
	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the new password is taken up", func() bool { return !c.Offline() })
}

func TestASecondClientWithTheSameIDIsRecognised(t *testing.T) {
	url := broker(t)
	c := run(t, opts(url, newMemory()))
	run(t, opts(url, newMemory()))
	until(t, "it is said", func() bool { return strings.Contains(c.State().Err, "another client") })
}

func TestUnknownSchemesAreRefused(t *testing.T) {
	for _, url := range []string{"", "http://x", "tcp://", "tcp://user:secret@host", "tls://:8883", "::"} {
		if _, err := uplink.New(uplink.Opts{Gateway: "g", List: "l", Broker: uplink.Broker{URL: url}}); err == nil {
			t.Errorf("%q: got no error, want one", url)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	long := append([]byte{0x30, 0xE0, 0xA7, 0x12}, make([]byte, 300_000)...)  // 300,000 = 0x60 + 0x27<<7 + 0x12<<14
	short := append([]byte{0x30, 0x80, 0x80, 0x10}, make([]byte, 256<<10)...) // 262,144 = 0x10<<14
	ping := []byte{0xD0, 0}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct{ in, out []byte }{
		"short packets":           {join(ping, []byte{0x30, 3, 'a', 'b', 'c'}, ping), join(ping, []byte{0x30, 3, 'a', 'b', 'c'}, ping)},
		"just short enough":       {join(short, ping), join(short, ping)},
		"a long one between":      {join(ping, long, ping), join(ping, short, ping)},
		"two long ones":           {join(long, long), join(short, short)},
		"a long one that is cut":  {long[:280_000], short},
		"no message at all":       {nil, nil},
		"a header that is cut":    {[]byte{0x30, 0x80}, nil},
		"256 MB promised":         {join([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, make([]byte, 256<<10)), short},
		"a length of five digits": {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, nil},
		"a long SUBACK":           {[]byte{0x90, 0x80, 0x80, 0x20}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			go func() { _, _ = there.Write(c.in); there.Close() }()
			got, _ := io.ReadAll(uplink.Guard(here))
			if !bytes.Equal(got, c.out) {
				t.Errorf("got %d bytes, want %d", len(got), len(c.out))
			}
		})
	}
}

// One retained message must not keep a gateway from its broker.
func TestLongRetainedMessageIsRefusedAndRecordsFlow(t *testing.T) {
	url := broker(t)
	c := dial(t, url, "somebody")
	for _, topic := range []string{uplink.ListTopics("desk").Head(), uplink.GatewayTopics("gw-1").Ack()} {
		if err := c.Publish(t.Context(), topic, true, make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
	}
	m := newMemory()
	g := run(t, opts(url, m))
	until(t, "the refusal", func() bool { return g.State().List.Refused > 0 && !g.Offline() })
	m.record(3)
	until(t, "the records", func() bool {
		o, _ := m.Outbox(t.Context())
		return o.Taken == 3
	})
	if g.State().Err != "" {
		t.Errorf("got %q, want a connection that stays", g.State().Err)
	}
}

// certify writes a key and a certificate, signed by parent or by itself.
func certify(t *testing.T, dir, name string, serial int64, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func TestCertificatesAreReadAgainAtEveryAttempt(t *testing.T) {
	dir := t.TempDir()
	ca, key := certify(t, dir, "ca", 1, nil, nil)
	certify(t, dir, "broker", 2, ca, key)
	certify(t, dir, "stranger", 3, nil, nil)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "broker.pem"), filepath.Join(dir, "broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	l := listeners.NewTCP(listeners.Config{ID: "tls", Address: "127.0.0.1:0",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}})
	if err := errors.Join(s.AddHook(new(door), nil), s.AddListener(l), s.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })

	file := func(name string) string { return filepath.Join(dir, name) }
	o := opts("tls://"+l.Address(), newMemory())
	o.Broker.CA, o.Broker.Cert, o.Broker.Key = file("stranger.pem"), file("gateway.pem"), file("gateway.key")
	certify(t, dir, "gateway", 4, nil, nil)
	c := run(t, o)
	until(t, "the broker is not trusted", func() bool { return strings.Contains(c.State().Err, "check broker.ca") })
	good, err := os.ReadFile(file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("stranger.pem"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	certify(t, dir, "gateway", 5, ca, key)
	until(t, "the new files are taken up", func() bool { return !c.Offline() })
}

// A broker that takes a SUBSCRIBE's packet id for that of a message of its own
// answers a code that MQTT 3.1.1 does not have, and subscribes to nothing.
func TestSubscribingGoesThroughWhileMessagesAreUnacknowledged(t *testing.T) {
	url := broker(t)
	p := dial(t, url, "publisher")
	for i := range 40 {
		publish(t, p, fmt.Sprint("a/", i), []byte("x"))
	}
	c := dial(t, url, "subscriber", "a/0", "a/1", "a/2", "a/3") // four unacknowledged ids
	for i := range 36 {
		if err := c.Subscribe(t.Context(), fmt.Sprint("a/", 4+i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all came", func() bool { return len(c.Messages()) == 40 })
}

func TestTopicsThatTheAccessListForbidsAreNamed(t *testing.T) {
	url := broker(t, &door{lets: func(_, topic string, write bool) bool { return write || topic != "secret" }})
	c := dial(t, url, "c")
	if err := c.Subscribe(t.Context(), "open", "secret"); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that names the topic", err)
	}
}
