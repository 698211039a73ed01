package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/durable"
)

// Record is what root notes of a provisioned configuration, in its folder.
type Record struct {
	Gateway string `json:"gateway"`
	Site    string `json:"site"`
	Broker  string `json:"broker"` // URL
	State   string `json:"state"`  // folder of the daemon
	Board   string `json:"board"`  // serial number of the board that took it
	File    string `json:"file"`   // SHA-256 of the provisioning file
	Made    string `json:"made"`   // when the office made it
	// Previous is the configuration before, relative to /etc/badged, while this one
	// may be on trial; "" for the first, which is kept whatever comes.
	Previous string `json:"previous,omitempty"`
}

// State is what became of provisioning, for the daemon and for people. The zero
// value is a gateway that was not provisioned.
type State struct {
	Outcome Outcome `json:"outcome"`
	Text    string  `json:"text"`    // one line
	Config  string  `json:"config"`  // in force, relative to /etc/badged; "" for none
	Board   string  `json:"board"`   // serial number
	Boot    string  `json:"boot"`    // id of the boot in which it came so
	Version string  `json:"version"` // the configuration it is about
}

// Outcome is how provisioning came out.
type Outcome string

// The outcomes.
const (
	Installed Outcome = "installed"
	Refused   Outcome = "refused"   // nothing has changed
	FellBack  Outcome = "fell-back" // the one on trial could not connect
	Moved     Outcome = "moved"     // the card was provisioned in another board
)

// Bad tells whether somebody has to do something.
func (o Outcome) Bad() bool { return o == Refused || o == FellBack || o == Moved }

const stateName = "state.json"

// versionsName is the folder of the configurations, in /etc/badged.
const versionsName = "provisioned"

// ReadState reads what became of provisioning, for a daemon that reads config,
// which is /etc/badged/badged.toml there. Without any it is the zero value.
func ReadState(config string) (s State, err error) {
	return s, readJSON(filepath.Join(filepath.Dir(config), versionsName, stateName), &s)
}

func readJSON(path string, v any) error {
	b, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("provisioning: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("provisioning: %s: %w: %w", path, errDamaged, err)
	}
	return nil
}

// errDamaged says that a file of ours is no longer what was written.
var errDamaged = errors.New("damaged")

// readSmall reads a small regular file. Root reads what the daemon has written, and
// what lies on the boot partition: no link and no pipe there may lead it elsewhere.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, noFile(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, noFile(path)
	}
	return durable.ReadAll(f, path)
}

func noFile(path string) error {
	return fmt.Errorf("%s is a folder, a link or a pipe; want the file itself, copied there", path)
}

// verdict is what the daemon says of a configuration on trial, in its own folder.
type verdict struct {
	Version   string `json:"version"`
	Connected bool   `json:"connected"` // else: go back
	Why       string `json:"why,omitempty"`
}

const verdictName = "provision.json"

// readRecord reads what root noted of a config, which may be a link; real is what
// the link names. Without a note it is the zero value.
func readRecord(config string) (r Record, real string, err error) {
	if real, err = filepath.EvalSymlinks(config); err != nil {
		return r, "", err
	}
	return r, real, readJSON(filepath.Join(filepath.Dir(real), recordName), &r)
}

// MadeAt is when the office made a config, by its own clock: no earlier than that is
// it now. It is the zero time where nobody knows.
func MadeAt(config string) time.Time {
	r, _, err := readRecord(config)
	if err != nil {
		return time.Time{}
	}
	at, _ := time.Parse(time.RFC3339, r.Made) // or the zero time
	return at
}

// Trial is a configuration that has to connect before the one before it goes.
type Trial struct {
	Previous string // the config file to go back to
	version  string
	state    string // the daemon's folder
}

// OpenTrial tells whether the config, which may be a link, is on trial. state is
// the daemon's folder.
func OpenTrial(config, state string) (*Trial, error) {
	r, real, err := readRecord(config)
	if err != nil || r.Previous == "" {
		return nil, err
	}
	t := &Trial{Previous: beside(filepath.Dir(config), r.Previous), version: filepath.Base(filepath.Dir(real)), state: state}
	var v verdict
	if err := readJSON(filepath.Join(state, verdictName), &v); err == nil && v.Version == t.version {
		return nil, nil
	}
	return t, nil // one that cannot be read is none
}

// Passed ends the trial: the configuration has connected.
func (t *Trial) Passed() error { return t.end(verdict{Version: t.version, Connected: true}) }

// Failed ends the trial: root goes back to Previous at the next start. why is for
// people.
func (t *Trial) Failed(why string) error { return t.end(verdict{Version: t.version, Why: why}) }

func (t *Trial) end(v verdict) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(t.state, verdictName), b, 0o600)
}
