package cachetest

import (
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Fault is what is wrong with a disk that has power. The zero value is a disk
// that is well.
type Fault struct {
	// Full leaves no room: a file that grows, or is made, is answered ENOSPC. What
	// is removed or cut short gives its room back to those that come after.
	Full bool
	// ReadOnly answers EROFS to every change, as a file system does that the kernel
	// has remounted after an error.
	ReadOnly bool
	// Read, Write and Sync are answered instead of doing it; 0 is well. A sync that
	// fails takes what was not synced for written, as Linux does, so that one that
	// is tried again promises nothing about it.
	Read, Write, Sync syscall.Errno
	// SyncTakes is how long every sync takes.
	SyncTakes time.Duration
}

// Break gives the disk a fault, or with the zero value mends it. The index that
// SQLite maps (-shm) stays readable: it is memory that happens to have a name.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	d.fault, d.room = f, d.used()
	var all []uint64
	for name, n := range d.names {
		if !mapped(name) {
			all = append(all, n.ino)
		}
	}
	d.mu.Unlock()
	if f.Read != 0 && d.server != nil {
		for _, ino := range all { // else the kernel answers from its cache
			d.server.InodeNotify(ino, 0, -1)
		}
	}
}

// Synced is how many bytes, in pages of 4 KiB, how many syncs of files have
// written down since the disk was made: what a card gets, without a file system's
// own books.
func (d *Disk) Synced() (bytes, syncs int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written, d.syncs
}

func mapped(name string) bool { return strings.HasSuffix(name, "-shm") }

func (d *Disk) readOnly() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault.ReadOnly
}

// nameOf is the name that programs see a file by, "" of a removed one.
func (d *Disk) nameOf(n *node) string {
	for name, m := range d.names {
		if m == n {
			return name
		}
	}
	return ""
}

// used is the room that the files take.
func (d *Disk) used() (n int) {
	for _, f := range d.names {
		n += len(f.data)
	}
	return n
}

// refuses says how a change that makes the files grow is answered, if not done.
func (d *Disk) refuses(grows int) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fault.ReadOnly:
		return fuse.Status(syscall.EROFS)
	case d.fault.Write != 0:
		return fuse.Status(d.fault.Write)
	case d.fault.Full && grows > 0 && d.used()+grows > d.room:
		return fuse.Status(syscall.ENOSPC)
	}
	return fuse.OK
}

// grows is by how much a file of this number would grow.
func (d *Disk) grows(id uint64, size int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return size - len(d.nodes[id].data)
}

// count adds a sync of a file to Synced.
func (d *Disk) count(n *node) {
	const page = 4096
	pages := map[int]bool{}
	for s := range n.dirty {
		pages[s*sector/page] = true
	}
	d.written += int64(len(pages)) * page
	d.syncs++
}

// syncFails waits as long as the disk takes for a sync, and says how it fails.
func (d *Disk) syncFails(id uint64) fuse.Status {
	d.mu.Lock()
	f := d.fault
	if n := d.nodes[id]; f.Sync != 0 && n != nil {
		n.dirty = map[int]bool{}
	}
	d.mu.Unlock()
	time.Sleep(f.SyncTakes)
	return fuse.Status(f.Sync)
}
