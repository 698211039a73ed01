// Package cachetest is a disk for tests that a power cut can hit: a FUSE file
// system in memory whose writes and directory changes are lost until they are
// synced.
//
// It models what POSIX promises and no more. A write lives in the page cache
// until fsync of its file; a new, renamed or removed name lives there until
// fsync of the folder. Cut freezes the disk, Survive makes it what a machine
// finds after the cut: with Keep 0 nothing that was not synced, else each
// unsynced sector with that probability, so that writes are torn and come out
// of order, and folder changes up to a random one. A disk that Lies ignores
// every sync: the control that any test of durability must fail on.
//
// Break gives a disk that has power a fault: full, read-only, errors, slow syncs.
//
// It tests programs, not cards: what a real card does to sectors nobody wrote to
// is not modelled.
package cachetest

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is what a disk writes whole, in bytes.
const sector = 512

// Model is what a disk does with what is not synced.
type Model struct {
	Keep float64 // chance of an unsynced sector to survive a cut, 0 to 1
	Lies bool    // fsync does nothing
	Seed uint64  // of all that is random
}

// Disk is a flat folder of files. All its methods may be called from any
// goroutine. It starts one goroutine per Mount, which ends with Unmount.
type Disk struct {
	model  Model
	server *fuse.Server

	mu      sync.Mutex
	rnd     *rand.Rand
	nodes   map[uint64]*node // by inode number; removed files may still be open
	names   map[string]*node // as programs see them
	synced  map[string]*node // as a cut leaves them for certain
	pending []change         // from synced to names, in order
	frozen  bool
	left    int // changes until the cut, 0 for none
	fault   Fault
	room    int   // bytes that all files may have while the disk is Full
	written int64 // see Synced
	syncs   int64
}

// change is one of the folder, all or nothing.
type change func(names map[string]*node)

// New returns an empty disk.
func New(m Model) *Disk {
	return &Disk{model: m, rnd: rand.New(rand.NewPCG(m.Seed, 1)),
		nodes: map[uint64]*node{}, names: map[string]*node{}, synced: map[string]*node{}}
}

// CutAfter cuts the power at the nth change of the disk from now on, n > 0:
// the change itself may or may not be made, and is answered EIO like all that
// follow. What was read before can still be read.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

// Cut cuts the power now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = true
}

// Dark tells whether the power is cut.
func (d *Disk) Dark() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen
}

// Survive turns the disk into what is found after the cut. It must not be
// mounted.
func (d *Disk) Survive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.pending {
		if d.rnd.Float64() >= d.model.Keep {
			break
		}
		c(d.synced)
	}
	names, nodes := map[string]*node{}, map[uint64]*node{}
	for _, name := range sortedNames(d.synced) {
		n := d.synced[name]
		found := &node{ino: n.ino, data: n.survive(d.model.Keep, d.rnd)}
		found.sync()
		names[name], nodes[n.ino] = found, found
	}
	d.nodes, d.names, d.synced = nodes, names, clone(names)
	d.pending, d.frozen, d.left = nil, false, 0
}

func clone(names map[string]*node) map[string]*node {
	out := map[string]*node{}
	for name, n := range names {
		out[name] = n
	}
	return out
}

func sortedNames(names map[string]*node) []string {
	var out []string
	for name := range names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// alter makes a change unless the disk is cut.
func (d *Disk) alter(do func()) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.frozen:
		return fuse.EIO
	case d.left == 1:
		d.frozen = true
		if d.rnd.IntN(2) == 0 {
			do() // done, but nobody will hear of it
		}
		return fuse.EIO
	case d.left > 1:
		d.left--
	}
	do()
	return fuse.OK
}

// alterDir makes a change of the folder, which a cut may undo.
func (d *Disk) alterDir(c change) fuse.Status {
	return d.alter(func() {
		c(d.names)
		d.pending = append(d.pending, c)
	})
}

// syncing makes what do does durable.
func (d *Disk) syncing(do func()) fuse.Status {
	return d.alter(func() {
		if !d.model.Lies {
			do()
		}
	})
}

// node is a file: what programs read, and what is on the platter.
type node struct {
	ino   uint64
	data  []byte
	disk  []byte
	dirty map[int]bool // sectors written since the last sync
}

// write puts b at off, beyond the end too.
func (n *node) write(b []byte, off int) {
	n.resize(max(len(n.data), off+len(b)))
	copy(n.data[off:], b)
	if n.dirty == nil {
		n.dirty = map[int]bool{}
	}
	for s := off / sector; s*sector < off+len(b); s++ {
		n.dirty[s] = true
	}
}

// resize cuts the file short or lengthens it by zeros.
func (n *node) resize(size int) { n.data = resized(n.data, size) }

func resized(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

func (n *node) sync() {
	n.disk = resized(n.disk, len(n.data))
	if n.dirty == nil {
		copy(n.disk, n.data)
	}
	for s := range n.dirty {
		copySector(n.disk, n.data, s)
	}
	n.dirty = map[int]bool{}
}

func copySector(to, from []byte, s int) {
	if at := s * sector; at < len(from) {
		copy(to[at:], from[at:min(at+sector, len(from))])
	}
}

// survive is what a cut leaves of the file.
func (n *node) survive(keep float64, rnd *rand.Rand) []byte {
	out := slices.Clone(n.disk)
	if rnd.Float64() < keep {
		out = resized(out, len(n.data))
	}
	var written []int
	for s := range n.dirty {
		written = append(written, s)
	}
	slices.Sort(written)
	for _, s := range written {
		if rnd.Float64() < keep {
			out = resized(out, max(len(out), min((s+1)*sector, len(n.data))))
			copySector(out, n.data, s)
		}
	}
	return out
}
