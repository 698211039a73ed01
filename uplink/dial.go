package uplink

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Broker says how to reach the broker. The files are read again at every
// attempt, so that a renewed certificate or password is taken up by itself.
type Broker struct {
	// URL is tcp://host:1883 or mqtt://, tls://host:8883 or mqtts://, or
	// unix:///path.
	URL string
	// CA is a PEM file of authorities instead of the system's. Cert and Key are the
	// PEM files of the client's certificate. All optional.
	CA, Cert, Key string
	// User logs in with the content of PasswordFile, less its last line feed. Both optional.
	User, PasswordFile string
	// Time is the clock that certificates are checked by; nil is time.Now.
	Time func() time.Time
}

// target takes the URL apart.
func (b Broker) target() (network, address string, secure bool, err error) {
	u, err := url.Parse(b.URL)
	if err != nil {
		return "", "", false, fmt.Errorf("broker url %q: want one such as tls://broker.example.org:8883", b.URL)
	}
	port := "1883"
	switch u.Scheme {
	case "unix":
		return "unix", u.Host + u.Path, false, nil
	case "tcp", "mqtt":
	case "tls", "mqtts", "ssl":
		port, secure = "8883", true
	default:
		return "", "", false, fmt.Errorf("broker url %q: want tcp://, mqtt://, tls://, mqtts:// or unix://", b.URL)
	}
	if u.Hostname() == "" || u.User != nil {
		return "", "", false, errors.New("broker url: want a host, and user and password apart from it")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port), secure, nil
}

// open makes the connection below MQTT.
func (b Broker) open(ctx context.Context) (net.Conn, error) {
	network, address, secure, err := b.target()
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Control: userTimeout}
	if !secure {
		return d.DialContext(ctx, network, address)
	}
	config, err := b.tls()
	if err != nil {
		return nil, err
	}
	n, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config.ServerName, _, _ = net.SplitHostPort(address)
	h := &heard{Conn: n}
	c := tls.Client(h, config)
	if err := c.HandshakeContext(ctx); err != nil {
		n.Close()
		if hungUp(err) && !h.any {
			err = fmt.Errorf("%w (%w)", err, errNoTLS)
		}
		return nil, fmt.Errorf("connect with TLS: %w%s", err, hint(err))
	}
	return c, nil
}

// heard is a connection that knows whether the other end has sent anything.
type heard struct {
	net.Conn
	any bool
}

// Read is net.Conn's.
func (h *heard) Read(b []byte) (n int, err error) {
	n, err = h.Conn.Read(b)
	h.any = h.any || n > 0
	return n, err
}

// A port with TLS that is spoken to without, and the other way round.
var (
	errNoTLS = errors.New("not a word of TLS came")
	errTLS   = errors.New("the answer is one of TLS")
)

func (b Broker) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Time: b.Time}
	if b.CA != "" {
		pem, err := readFile(b.CA)
		if err != nil {
			return nil, fmt.Errorf("read broker ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("broker ca %s: no PEM certificate in it", b.CA)
		}
	}
	if b.Cert != "" || b.Key != "" {
		cert, err := b.pair()
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

func (b Broker) pair() (tls.Certificate, error) {
	cert, err := readFile(b.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(b.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// maxFile bounds the files of a Broker.
const maxFile = 1 << 20

// readFile reads one of them. A device without an end must not fill the memory, and
// a pipe that nobody writes into must not keep the connection waiting.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: larger than 1 MiB; is it the right file?", path)
	}
	return b, err
}

// fingerprint is of the content of a Broker's files.
type fingerprint [sha256.Size]byte

// fingerprint reads the files; one that cannot be read has a content of its own.
func (b Broker) fingerprint() (f fingerprint) {
	h := sha256.New()
	for _, path := range []string{b.CA, b.Cert, b.Key, b.PasswordFile} {
		if path == "" {
			continue
		}
		content, err := readFile(path)
		fmt.Fprintf(h, "%s %d %t\n", path, len(content), err == nil)
		h.Write(content)
	}
	h.Sum(f[:0])
	return f
}

// usable tells what is wrong with the files as they are now.
func (b Broker) usable() error {
	_, bad := b.password()
	if _, _, secure, err := b.target(); err != nil || !secure {
		return errors.Join(err, bad)
	}
	_, err := b.tls()
	return errors.Join(err, bad)
}

// hint says what to check first, after a line of its own; "" where nobody knows.
func hint(err error) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var name *net.DNSError
	var slow net.Error
	var record tls.RecordHeaderError
	switch {
	case strings.Contains(err.Error(), "\nhint: "):
		return "" // it has one
	case errors.Is(err, errNoTLS):
		return "\nhint: check the port in broker.url: this one seems to be without TLS, as 1883 usually is; tls:// wants the broker's port for TLS, usually 8883"
	case errors.Is(err, errTLS):
		return "\nhint: check broker.url: this port is for TLS, so it wants tls://"
	case strings.Contains(err.Error(), "remote error: tls:"): // an alert (RFC 8446, 6); crypto/tls has no type for it
		return "\nhint: the broker refuses this: check broker.cert and broker.key, their dates, and that the broker knows their authority"
	case errors.As(err, &record):
		return "\nhint: check the port in broker.url: what answers there is not TLS"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "\nhint: check this board's clock: date; if it is right, the broker's operator must renew its certificate"
	case errors.As(err, &unknown):
		return "\nhint: check broker.ca: it must hold the authority of the broker's certificate"
	case errors.As(err, &host):
		return "\nhint: check broker.url: the certificate is for another host name"
	case errors.As(err, &name) && name.IsNotFound:
		return "\nhint: check broker.url letter by letter: there is no machine of this name"
	case errors.As(err, &name):
		return "\nhint: check the network of this board: cable or SIM, then the router"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "\nhint: ask the broker's operator whether it runs, and check the port in broker.url: its machine is there and refuses"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &slow) && slow.Timeout():
		return "\nhint: check the network of this board: cable or SIM, then the router; if others there get out, ask the broker's operator"
	}
	return ""
}

func (b Broker) password() (string, error) {
	if b.PasswordFile == "" {
		return "", nil
	}
	p, err := readFile(b.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read broker password: %w", err)
	}
	return strings.TrimRight(string(p), "\r\n"), nil
}
