package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"badged/cache"
)

// Check looks at the files that a config names. What is wrong comes back as a
// *ConfigError; notes are what a technician should know all the same.
func Check(c Config) (notes []string, err error) {
	p := &problems{ix: c.lines}
	fault := func(key string, err error) {
		if err != nil {
			p.add(key, "%v", err)
		}
	}
	_, err = loadKeys("list keys", c.List.Keys)
	fault("list.keys", err)
	if c.CommandKeys != "" {
		_, err = loadKeys("command keys", c.CommandKeys)
		fault("commands.keys", err)
	}
	if c.Broker.CA != "" {
		fault("broker.ca", usableCA(c.Broker.CA))
	}
	if c.Broker.Cert != "" {
		_, err := tls.LoadX509KeyPair(c.Broker.Cert, c.Broker.Key)
		fault("broker.cert", err)
		fault("broker.key", secret(c.Broker.Key))
	}
	if c.Broker.PasswordFile != "" {
		fault("broker.password_file", secret(c.Broker.PasswordFile))
	}
	if c.SiteKey != "" {
		_, err := readSiteKey(c.SiteKey)
		fault("gateway.site_key", errors.Join(err, secret(c.SiteKey)))
	} else if !c.PlainUID {
		notes = append(notes, "no gateway.site_key: records tell badges apart, but the backend cannot resolve their UIDs, only their accounts")
	}
	if s := c.Broker.URL.Scheme; s == "tcp" || s == "mqtt" {
		notes = append(notes, "broker.url is not encrypted: use tls:// outside a trusted network")
	}
	return append(notes, c.lockedStations()...), p.err(c.File)
}

// lockedStations notes the private stations that no badge could open by the
// list that this gateway has, if it has one that can be read.
func (c Config) lockedStations() (notes []string) {
	named, ok, err := cache.NamedStations(filepath.Join(c.State, "list.db"))
	if err != nil || !ok {
		return nil
	}
	for _, s := range c.Stations {
		if s.Private && !slices.Contains(named, s.ID) {
			notes = append(notes, fmt.Sprintf("station %s is private, and no badge on the list %s names it: nobody can start it", s.ID, c.List.Name))
		}
	}
	return notes
}

func usableCA(path string) error {
	b, err := os.ReadFile(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(b) {
		err = fmt.Errorf("%s: no PEM certificate in it", path)
	}
	return err
}

// secret refuses files that others can read.
func secret(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	return err
}
