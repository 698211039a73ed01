package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/config"
)

// Board is the system that is provisioned.
type Board struct {
	root   string // "" is this one
	etc    string // its /etc/badged
	serial string
	boot   string
	disk   disk
	owners owners
	now    func() time.Time // which may be 1970
}

// OpenBoard looks at the system below root, "" for this one. The gateway's user has
// to be there, and whoever runs this to be root; elsewhere than on a board, files
// stay with whom they are.
func OpenBoard(root string) (*Board, error) {
	if root != "" { // names in it are compared with whole ones
		abs, err := filepath.Abs(root)
		if err != nil {
			return nil, err
		}
		root = strings.TrimSuffix(abs, "/")
	}
	b := &Board{root: root, etc: filepath.Join(root, "/etc/badged"), serial: boardSerial(root), boot: bootID(root), now: time.Now}
	if os.Geteuid() != 0 {
		if root == "" {
			return nil, errors.New("provisioning gives files to the gateway, which only root may\nhint: sudo badgectl provision apply")
		}
		return b, nil
	}
	uid, err := number(filepath.Join(root, "/etc/passwd"))
	if err != nil {
		return nil, err
	}
	gid, err := number(filepath.Join(root, "/etc/group"))
	if err != nil {
		return nil, err
	}
	b.owners = owners{shared: owner{true, 0, gid}, secret: owner{true, uid, gid}}
	return b, nil
}

// userName is the daemon's user, and its group's name.
const userName = "badged"

// number is the third field of the gateway's line in passwd or group.
func number(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ":"); f[0] == userName && len(f) > 2 {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fmt.Errorf("no %s in %s\nhint: install the package badged first", userName, file)
}

// lock keeps a second run of this away until the file is closed: over ssh, while the
// board starts.
func (b *Board) lock() (*os.File, error) {
	f, err := os.Open(filepath.Join(b.root, "/etc"))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("provisioning: wait for another run: %w", err)
	}
	return f, nil
}

func (b *Board) link() string     { return filepath.Join(b.etc, configName) }
func (b *Board) versions() string { return filepath.Join(b.etc, versionsName) }

// current is the configuration in force.
type current struct {
	config  string // relative to /etc/badged; "" for none
	version string // its folder's name; "" if it was not provisioned
	before  string // another gateway that the card was until now
	Record
}

func (b *Board) current() (c current, err error) {
	target, err := os.Readlink(b.link())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil: // a file that somebody wrote
		c.config = configName
		return c, nil
	}
	c.config = target
	if dir := filepath.Dir(target); filepath.Dir(dir) == versionsName {
		c.version = filepath.Base(dir)
	}
	err = readJSON(filepath.Join(b.etc, filepath.Dir(target), recordName), &c.Record)
	if errors.Is(err, errDamaged) {
		c.Record, err = b.recordAnew(), nil
	}
	return c, err
}

// recordAnew is what the configuration in force itself tells, for a card that has
// lost the record: that must not keep the next file out. Which board took it is
// forgotten then, and no trial goes on.
func (b *Board) recordAnew() (r Record) {
	c, err := config.Load(b.link())
	if err != nil {
		return r
	}
	return Record{Gateway: c.ID, Site: c.Site, Broker: c.Broker.URL.String(), State: c.State}
}

// verdict is what the daemon says of c, if c is or was on trial. What cannot be read
// is none: the daemon's folder is the daemon's.
func (b *Board) verdict(c current) (v verdict, on bool) {
	if c.version == "" || c.Previous == "" {
		return v, false
	}
	if err := readJSON(filepath.Join(b.root, c.State, verdictName), &v); err != nil || v.Version != c.version {
		return verdict{}, true
	}
	return v, false
}

// state is what was noted last; what cannot be read any more is noted anew.
func (b *Board) state() (State, error) {
	s, err := ReadState(b.link())
	if errors.Is(err, errDamaged) {
		return State{}, nil
	}
	return s, err
}

// conclude notes what became of provisioning with the configuration that is in
// force then, unless that is known. It returns what it noted.
func (b *Board) conclude(cur current, o Outcome, text string) (State, error) {
	s := State{Outcome: o, Text: text, Config: cur.config, Version: cur.version, Board: b.serial, Boot: b.boot}
	if was, err := b.state(); err == nil && was == s {
		return s, nil
	}
	if err := b.versionsFolder(); err != nil {
		return s, err
	}
	return s, b.disk.replace(filepath.Join(b.versions(), stateName), marshal(s), 0o644)
}

// versionsFolder makes /etc/badged and the folder of configurations in it.
func (b *Board) versionsFolder() error {
	for _, dir := range []string{b.etc, b.versions()} {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := b.disk.mkdir(dir, 0o750, b.owners.shared); err != nil {
			return err
		}
		if err := b.disk.sync(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// prune removes configurations that are neither in force nor needed to go back to,
// and what a power cut left half done: their keys are still good for something.
func (b *Board) prune(keep ...string) error {
	all, err := os.ReadDir(b.versions())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kept := map[string]bool{stateName: true}
	for _, config := range keep {
		kept[filepath.Base(filepath.Dir(config))] = true
	}
	changed := false
	for _, e := range all {
		if kept[e.Name()] {
			continue
		}
		if err := b.disk.remove(filepath.Join(b.versions(), e.Name())); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return b.disk.sync(b.versions())
}

func fingerprint(doc []byte) string {
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:])
}
