package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"badged/cmd/internal/durable"
)

// File is a file that a config names.
type File struct {
	Key    string // that names it: broker.ca
	Path   string
	Secret bool // only the gateway may read it
	vital  bool // without it the gateway does not start
	check  func(path string) error
}

// files are those that a config can name.
func (c Config) files() []File {
	return []File{
		{"list.keys", c.List.Keys, false, true, keys("list keys")},
		{"list.root_keys", c.List.Roots, false, true, keys("root keys")},
		{"commands.keys", c.CommandKeys, false, true, keys("command keys")},
		{"broker.ca", c.Broker.CA, false, false, usableCA},
		{"broker.cert", c.Broker.Cert, false, false, c.Broker.pair},
		{"broker.key", c.Broker.Key, true, false, nil},
		{"broker.password_file", c.Broker.PasswordFile, true, false, password},
		{"gateway.site_key", c.SiteKey, true, true, siteKey},
	}
}

// Files lists the files that c names.
func (c Config) Files() []File {
	return slices.DeleteFunc(c.files(), func(f File) bool { return f.Path == "" })
}

// NamesFile tells whether a key's value is the name of a file.
func NamesFile(key string) bool {
	return slices.ContainsFunc(Config{}.files(), func(f File) bool { return f.Key == key })
}

// Startable looks at the files that a gateway cannot start without: those of keys.
// What is wrong with them comes back as an *Error, unless it may pass. The broker's
// are not among them: without a network the gateway serves its residents too.
func (c Config) Startable() error {
	p := &problems{ix: c.lines}
	var passing error
	for _, f := range c.Files() {
		if !f.vital {
			continue
		}
		switch err := f.check(f.Path); {
		case durable.Lasting(err):
			p.add(f.Key, "%v", err)
		case err != nil:
			passing = errors.Join(passing, c.Problem(f.Key, "%v", err).in(c.File))
		}
	}
	if err := p.err(c.File); err != nil {
		return err
	}
	return passing
}

// Check looks at the files that c names. What is wrong comes back as an *Error;
// notes are what a technician should know all the same.
func (c Config) Check() (notes []string, err error) {
	p := &problems{ix: c.lines}
	for _, f := range c.Files() {
		var err error
		if f.check != nil {
			err = f.check(f.Path)
		}
		if f.Secret {
			err = errors.Join(err, secret(f.Path))
		}
		if err != nil {
			p.add(f.Key, "%v", denied(err))
		}
	}
	if err := c.rootsApart(); err != nil {
		p.add("list.root_keys", "%v", err)
	}
	if c.SiteKey == "" && !c.PlainUID {
		notes = append(notes, "no gateway.site_key: records tell badges apart, but the backend cannot resolve their UIDs, only their accounts")
	}
	if !c.Broker.Encrypted() {
		notes = append(notes, "broker.url is not encrypted: use tls:// outside a trusted network")
	}
	if c.Broker.Encrypted() && c.Broker.Cert == "" && c.Broker.PasswordFile == "" {
		notes = append(notes, "neither broker.cert nor broker.password_file: the gateway has nothing to log in with, and a broker that is not open to all refuses it")
	}
	notes = append(notes, c.othersCert()...)
	return append(notes, c.closedAtBoot()...), p.err(c.File)
}

// closedAtBoot notes the relays that close before any program runs: until then a
// line of a Raspberry Pi is an input, and GPIO9 to GPIO27 are pulled down (BCM2835
// ARM Peripherals, 6.2, table 6-31).
func (c Config) closedAtBoot() (notes []string) {
	for _, s := range c.Stations {
		var n int
		if _, err := fmt.Sscanf(s.Relay, "GPIO%d", &n); err != nil || !s.RelayActiveLow || n < 9 || n > 27 {
			continue
		}
		notes = append(notes, fmt.Sprintf("station %s: its relay closes with a low level, and %s is low from power-on until badged starts: "+
			"put gpio=%d=op,dh into config.txt, or use one of GPIO0 to GPIO8", s.ID, s.Relay, n))
	}
	return notes
}

// denied adds to an error about rights whose the file has to be.
func denied(err error) error {
	var no *fs.PathError
	if !errors.As(err, &no) || !errors.Is(no, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: it must belong to the user that runs this: on a board sudo chown badged %s", err, no.Path)
}

// secret refuses files that others can read.
func secret(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	return err
}

func keys(what string) func(path string) error {
	return func(path string) error {
		_, err := LoadKeys(what, path)
		return err
	}
}

func siteKey(path string) error {
	_, err := ReadSiteKey(path)
	return err
}
