package provision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"badged/cmd/internal/durable"
)

// owner is who a file is given to; the zero value leaves it to whom it is.
type owner struct {
	set      bool
	uid, gid int
}

// change is one step on the disk. What it does to names lasts once their folder is
// synced.
type change struct {
	op       string
	path, to string
	content  []byte
	mode     os.FileMode
	owner    owner
}

// disk makes changes, one after the other. It is the only way in which this
// package changes a board.
type disk struct {
	// before is called ahead of each change; with an error nothing changes. Tests cut
	// the power there.
	before func(change) error
}

func (d disk) do(c change) error {
	if d.before != nil {
		if err := d.before(c); err != nil {
			return err
		}
	}
	return c.perform()
}

func (c change) perform() error {
	switch c.op {
	case "mkdir":
		if err := os.Mkdir(c.path, 0o700); err != nil {
			return err
		}
		return give(c.path, c.mode, c.owner)
	case "create":
		return c.create()
	case "replace":
		return durable.WriteFile(c.path, c.content, c.mode)
	case "symlink":
		return os.Symlink(c.to, c.path)
	case "link":
		return os.Link(c.to, c.path)
	case "rename":
		return os.Rename(c.to, c.path)
	case "remove":
		return os.RemoveAll(c.path)
	case "sync":
		return durable.SyncDir(c.path)
	}
	return fmt.Errorf("no such change: %s", c.op)
}

func (c change) create() error {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(c.content)
	if err == nil {
		err = give(c.path, c.mode, c.owner)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func give(path string, mode os.FileMode, o owner) error {
	if o.set {
		if err := os.Lchown(path, o.uid, o.gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// mkdir makes one folder.
func (d disk) mkdir(path string, mode os.FileMode, o owner) error {
	return d.do(change{op: "mkdir", path: path, mode: mode, owner: o})
}

// create writes a new file. Its content lasts.
func (d disk) create(path string, content []byte, mode os.FileMode, o owner) error {
	return d.do(change{op: "create", path: path, content: content, mode: mode, owner: o})
}

// replace puts the content under a name at once and for good. Mode 0 is for FAT.
func (d disk) replace(path string, content []byte, mode os.FileMode) error {
	return d.do(change{op: "replace", path: path, content: content, mode: mode})
}

// sync makes the names in a folder last.
func (d disk) sync(dir string) error { return d.do(change{op: "sync", path: dir}) }

func (d disk) rename(from, to string) error { return d.do(change{op: "rename", path: to, to: from}) }

// remove takes away what is there, all of it, if anything is.
func (d disk) remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return d.do(change{op: "remove", path: path})
}

// point makes the link at path name target, in one step and for good.
func (d disk) point(path, target string) error {
	next := filepath.Join(filepath.Dir(path), ".next-"+filepath.Base(path))
	if err := d.remove(next); err != nil {
		return err
	}
	if err := d.do(change{op: "symlink", path: next, to: target}); err != nil {
		return err
	}
	if err := d.rename(next, path); err != nil {
		return err
	}
	return d.sync(filepath.Dir(path))
}

// second gives a file a second name, for good.
func (d disk) second(path, name string) error {
	if err := d.remove(name); err != nil {
		return err
	}
	if err := d.do(change{op: "link", path: name, to: path}); err != nil {
		return err
	}
	return d.sync(filepath.Dir(name))
}
