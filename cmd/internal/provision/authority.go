package provision

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"

	"badged/cmd/internal/config"
)

// Authority signs the certificates that gateways log in with.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	// Valid is how long certificates are good for, at most until the authority's own
	// end. It has to outlast the longest time that a gateway may be offline.
	Valid time.Duration
}

// ReadAuthority reads an authority's certificate and its key, which only its owner
// may be able to read.
func ReadAuthority(certFile, keyFile string, valid time.Duration) (*Authority, error) {
	pair, err := config.ReadPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, fmt.Errorf("authority's key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("authority's key: others can read %s (chmod 600 it)", keyFile)
	}
	a := &Authority{cert: pair.Leaf, Valid: valid}
	var ok bool
	if a.key, ok = pair.PrivateKey.(crypto.Signer); !ok || !a.cert.IsCA {
		return nil, fmt.Errorf("authority: %s is no certificate of an authority (CA:TRUE)", certFile)
	}
	return a, nil
}

// end is when a certificate ends that is made now.
func (a *Authority) end(now time.Time) time.Time {
	end := now.Add(a.Valid)
	if end.After(a.cert.NotAfter) {
		return a.cert.NotAfter
	}
	return end
}

// issue makes a key and a certificate with id for its common name, which the
// broker takes for the user name.
func (a *Authority) issue(id string, now time.Time) (cert, key []byte, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     a.end(now),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if !t.NotAfter.After(now) {
		return nil, nil, errors.New("authority: its certificate has expired, and so would this one")
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, secret.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
