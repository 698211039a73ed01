package provision

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"badged/cmd/internal/config"
)

// Report is how a run came out: a line for the daemon, and words for people.
type Report struct {
	State State
	Text  string // "" where nothing happened
}

// ErrRefused is what Apply and Boot return beside a Report that says why nothing
// was changed.
var ErrRefused = errors.New("not provisioned")

// job is one provisioning file on its way into the board.
type job struct {
	name    string // for people
	doc     []byte
	replace bool         // as if the file said replaces
	begin   func() error // before anything changes; may be nil
	// done is told that f is in force. It takes care of the file, and of the text that
	// words makes from what has become of the secrets in the file.
	done func(f *File, words func(secrets string) string) (text string, err error)
	// refused is told the text; may be nil.
	refused func(text string) error
}

// Apply installs a provisioning file that was read from path, "" for none. The file
// there then remembers the board.
func (b *Board) Apply(doc []byte, path string, replace bool) (Report, error) {
	lock, err := b.lock()
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	if _, err := b.settle(); err != nil {
		return Report{}, err
	}
	j := job{name: filepath.Base(path), doc: doc, replace: replace}
	if path == "" {
		j.name = FileName
	}
	j.done = func(f *File, words func(string) string) (string, error) {
		if path == "" {
			return words(""), nil
		}
		return words(b.remember(f, path)), nil
	}
	return b.run(j)
}

// run installs a file or says why not.
func (b *Board) run(j job) (Report, error) {
	cur, err := b.current()
	if err != nil {
		return Report{}, err
	}
	f, err := Parse(j.doc, j.name)
	if err != nil {
		return b.refuse(j, cur, err)
	}
	if cur.File == fingerprint(f.Doc) && cur.Board == b.serial {
		return b.finish(j, f, cur)
	}
	if err := b.mayTake(f, cur, j.replace); err != nil {
		return b.refuse(j, cur, err)
	}
	if j.begin != nil {
		if err := j.begin(); err != nil {
			return b.refuse(j, cur, err)
		}
	}
	next, err := b.install(f, cur)
	if err != nil {
		return b.refuse(j, cur, err)
	}
	if cur.Gateway != "" && cur.Gateway != next.Gateway {
		next.before = cur.Gateway
	}
	return b.finish(j, f, next)
}

// mayTake refuses a second board with one identity. A file that replaces a board is
// for one board all the same: the one that it names, or the first that has used it.
func (b *Board) mayTake(f *File, cur current, replace bool) error {
	switch {
	case b.serial == "" || replace:
		return nil
	case f.Board != "" && !strings.EqualFold(f.Board, b.serial):
		return f.err([]config.Problem{f.problem("provision.board",
			"the file is for board %s, or has been used there; this is board %s. Two boards must not be one gateway. If the other one is out of service for good, have the file made anew with --replaces, for this board or for any", f.Board, b.serial)})
	case f.Replaces:
		return nil
	case cur.version != "" && cur.Board != "" && cur.Board != b.serial && cur.Gateway == f.gateway():
		return f.err([]config.Problem{f.problem("gateway.id",
			"this card was provisioned as %s in board %s, and is in board %s now. Two boards must not be one gateway. If the other one is out of service for good, have the file made anew with --replaces", cur.Gateway, cur.Board, b.serial)})
	}
	return nil
}

// gateway is the id that the file gives.
func (f *File) gateway() string {
	c, _ := config.Parse(strings.NewReader(string(f.Config())), configName)
	return c.ID
}

// install checks all of f in a new folder and then makes it the configuration with
// one rename.
func (b *Board) install(f *File, cur current) (next current, err error) {
	if err := b.versionsFolder(); err != nil {
		return next, err
	}
	if err := b.prune(cur.config, cur.Previous); err != nil { // what a power cut left
		return next, err
	}
	name := strings.ToLower(rand.Text()[:10]) // never the name of one that had a verdict
	staged, dir := filepath.Join(b.versions(), ".new-"+name), filepath.Join(b.versions(), name)
	if err := b.disk.mkdir(staged, 0o750, b.owners.shared); err != nil {
		return next, err
	}
	defer os.RemoveAll(staged) // only there after an error
	c, _, err := f.stage(b.disk, staged, b.owners)
	if err != nil {
		return next, err
	}
	next = current{config: filepath.Join(versionsName, name, configName), version: name, Record: Record{
		Gateway: c.ID, Site: c.Site, Broker: c.Broker.URL.String(), State: c.State,
		Board: b.serial, File: fingerprint(f.Doc), Made: f.Made,
	}}
	if next.Previous, err = b.fallback(cur); err != nil {
		return next, err
	}
	if err := b.disk.create(filepath.Join(staged, recordName), marshal(next.Record), 0o640, b.owners.shared); err != nil {
		return next, err
	}
	if err := b.disk.sync(staged); err != nil {
		return next, err
	}
	if err := b.disk.rename(staged, dir); err != nil {
		return next, err
	}
	if err := b.disk.sync(b.versions()); err != nil {
		return next, err
	}
	return next, b.disk.point(b.link(), next.config)
}

// beforeName is what a badged.toml that somebody wrote is called once a provisioned
// one has taken its place.
const beforeName = "badged.before.toml"

// fallback is the configuration to go back to: the one in force, or the one before
// if that is on trial itself. One that the daemon could not start with is none.
func (b *Board) fallback(cur current) (string, error) {
	back := cur.config
	if _, onTrial := b.verdict(cur); onTrial {
		back = cur.Previous
	}
	if back == "" {
		return "", nil
	}
	c, err := config.Load(beside(b.etc, back))
	if err == nil {
		_, err = c.Check()
	}
	if err != nil {
		return "", nil
	}
	if back != configName {
		return back, nil
	}
	return beforeName, b.disk.second(b.link(), filepath.Join(b.etc, beforeName))
}

func beside(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// finish says that f is in force. It is done again when a power cut came between.
func (b *Board) finish(j job, f *File, cur current) (Report, error) {
	c, err := config.Load(filepath.Join(b.etc, cur.config))
	if err != nil {
		return Report{}, err
	}
	_, onTrial := b.verdict(cur)
	s, err := b.conclude(cur, Installed, installedText(cur))
	if err != nil {
		return Report{}, err
	}
	b.shine(false)
	text, err := j.done(f, func(secrets string) string { return b.wordsDone(c, f, cur, onTrial, secrets) })
	if err != nil {
		return Report{s, text}, err
	}
	keep := []string{cur.config}
	if onTrial {
		keep = append(keep, cur.Previous)
	}
	return Report{s, text}, b.prune(keep...)
}

// refuse says why nothing has changed.
func (b *Board) refuse(j job, cur current, why error) (Report, error) {
	text := b.wordsRefused(j.name, cur, why)
	s, err := b.conclude(cur, Refused, "provisioning refused: "+oneLine(why))
	b.shine(true)
	if j.refused != nil {
		err = errors.Join(err, j.refused(text))
	}
	return Report{s, text}, errors.Join(ErrRefused, err)
}

func installedText(cur current) string { return "provisioned as " + cur.Gateway }

// remember writes the board into a provisioning file that stays where it is, and
// says what people should know of that.
func (b *Board) remember(f *File, path string) string {
	secrets := fmt.Sprintf("%s still has the secrets of this gateway in it: delete it.\n", path)
	if f.Board != "" || b.serial == "" {
		return secrets
	}
	was, err := os.Stat(path)
	if err == nil {
		var doc []byte
		if doc, err = config.SetRaw(f.Doc, "provision.board", config.Quote(b.serial)); err == nil {
			err = b.disk.replace(path, doc, 0)
		}
	}
	if err != nil {
		return secrets + fmt.Sprintf("This board could not be noted in it (%v):\na second board would take it too.\n", err)
	}
	give(path, was.Mode().Perm(), ownerOf(was)) // as well as its file system can
	return secrets
}
