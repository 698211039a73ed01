package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"badged/cmd/internal/durable"
)

// ReadPair reads a certificate and its key.
func ReadPair(certFile, keyFile string) (pair tls.Certificate, err error) {
	cert, err := durable.ReadFile(certFile)
	if err != nil {
		return pair, err
	}
	key, err := durable.ReadFile(keyFile)
	if err != nil {
		return pair, err
	}
	pair, err = tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return pair, nil
	case len(cert) == 0 || len(key) == 0:
		return pair, fmt.Errorf("%s and %s: one of them is empty", certFile, keyFile)
	}
	return pair, fmt.Errorf("%s and %s are no pair: %w", certFile, keyFile, err)
}

// ReadCertificates reads all certificates of a PEM file; there is at least one.
func ReadCertificates(path string) (certs []*x509.Certificate, err error) {
	rest, err := durable.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s: no PEM certificate in it", path)
	}
	return certs, nil
}

// Pair reads the certificate that the gateway logs in with, and its key.
func (b Broker) Pair() (tls.Certificate, error) { return ReadPair(b.Cert, b.Key) }

// pair wants certificate and key to belong together.
func (b Broker) pair(string) error {
	_, err := b.Pair()
	return err
}

func usableCA(path string) error {
	_, err := ReadCertificates(path)
	return err
}

// othersCert notes a certificate of another name than the gateway's: brokers take
// the name for the user's, and refuse it its topics without a word.
func (c Config) othersCert() []string {
	pair, err := c.Broker.Pair()
	if err != nil { // that is said elsewhere, or there is none
		return nil
	}
	if cn := pair.Leaf.Subject.CommonName; cn != c.ID {
		return []string{fmt.Sprintf("broker.cert is of %q, not of %q: is it another gateway's? A broker that goes by it lets this one do what that one may", cn, c.ID)}
	}
	return nil
}

// Ended tells which of the broker's certificates have ended at now. A clock that
// stands still in the past finds none.
func (c Config) Ended(now time.Time) (out []Problem) {
	if pair, err := c.Broker.Pair(); err == nil && now.After(pair.Leaf.NotAfter) {
		out = append(out, c.ended("broker.cert", c.Broker.Cert, pair.Leaf.NotAfter, "the broker lets nobody in with it: have a new one made, and its key"))
	}
	if c.Broker.CA == "" {
		return out
	}
	all, err := ReadCertificates(c.Broker.CA)
	if err != nil {
		return out
	}
	last := all[0].NotAfter
	for _, a := range all {
		if a.NotAfter.After(last) {
			last = a.NotAfter
		}
	}
	if now.After(last) {
		out = append(out, c.ended("broker.ca", c.Broker.CA, last, "no broker can be trusted by it: ask the broker's operator for the one in use"))
	}
	return out
}

func (c Config) ended(key, path string, on time.Time, then string) Problem {
	return c.Problem(key, "%s has ended on %s; %s", filepath.Base(path), on.Format(time.DateOnly), then)
}

// password wants one in the file.
func password(path string) error {
	b, err := durable.ReadFile(path)
	if err == nil && len(b) == 0 {
		err = errors.New(path + " is empty; want the password in it")
	}
	return err
}
