package cachetest

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount puts the disk at the folder dir. It takes Linux, /dev/fuse and root, or
// fusermount3; a test that gets an error has reason to skip.
func (d *Disk) Mount(dir string) error {
	s, err := fuse.NewServer(&files{fuse.NewDefaultRawFileSystem(), d}, dir, &fuse.MountOptions{
		DirectMount: true, Name: "cachetest", FsName: "cachetest", DisableXAttrs: true, DisableReadDirPlus: true,
	})
	if err != nil {
		return fmt.Errorf("mount a test disk: %w", err)
	}
	go s.Serve()
	d.server = s
	// WaitMount opens a file of the disk for a moment. A process that begins just
	// then would have it open for life, and the disk could not be unmounted.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return s.WaitMount()
}

// Unmount takes the disk away; all files must be closed. Those of a process that
// was killed the kernel closes a little after the process is gone.
func (d *Disk) Unmount() error {
	var err error
	for end := time.Now().Add(closing); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = d.server.Unmount(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("unmount the test disk: %w", err)
}

// closing is how long the kernel may take with the files of a dead process.
const closing = 10 * time.Second

// files answers the kernel. Locks and mappings are the kernel's own.
type files struct {
	fuse.RawFileSystem
	d *Disk
}

// remembered is how long the kernel may keep what it was told: nobody else
// changes anything.
const remembered = 3600

func attr(n *node, out *fuse.Attr) {
	*out = fuse.Attr{Ino: n.ino, Size: uint64(len(n.data)), Blocks: uint64(len(n.data)+sector-1) / sector, Blksize: 4096,
		Mode: syscall.S_IFREG | 0o600, Nlink: 1}
	now := time.Now()
	out.SetTimes(&now, &now, &now)
}

func entry(n *node, out *fuse.EntryOut) {
	out.NodeId, out.Ino, out.AttrValid = n.ino, n.ino, remembered
	attr(n, &out.Attr)
}

func (f *files) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := f.d.names[name]
	if n == nil {
		return fuse.ENOENT
	}
	entry(n, out)
	return fuse.OK
}

func (f *files) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Attr = fuse.Attr{Ino: fuse.FUSE_ROOT_ID, Mode: syscall.S_IFDIR | 0o700, Nlink: 2}
		return fuse.OK
	}
	n := f.d.nodes[in.NodeId]
	if n == nil {
		return fuse.ENOENT
	}
	attr(n, &out.Attr)
	return fuse.OK
}

// SetAttr changes sizes; owners, rights and times are nobody's business here.
func (f *files) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if size, ok := in.GetSize(); ok {
		if s := f.resize(in.NodeId, int(size)); s != fuse.OK {
			return s
		}
	}
	return f.GetAttr(cancel, &fuse.GetAttrIn{InHeader: in.InHeader}, out)
}

func (f *files) resize(id uint64, size int) fuse.Status {
	if s := f.d.refuses(f.d.grows(id, size)); s != fuse.OK {
		return s
	}
	return f.d.alter(func() { f.d.nodes[id].resize(size) })
}

func (f *files) Create(_ <-chan struct{}, _ *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := f.d.refuses(1); s != fuse.OK {
		return s
	}
	f.d.mu.Lock()
	n := &node{ino: fuse.FUSE_ROOT_ID + 1}
	if ids := slices.Sorted(maps.Keys(f.d.nodes)); len(ids) > 0 {
		n.ino = ids[len(ids)-1] + 1
	}
	f.d.nodes[n.ino] = n
	f.d.mu.Unlock()
	entry(n, &out.EntryOut)
	return f.d.alterDir(func(names map[string]*node) { names[name] = n })
}

func (f *files) Unlink(_ <-chan struct{}, _ *fuse.InHeader, name string) fuse.Status {
	if s := f.d.refuses(0); s != fuse.OK {
		return s
	}
	return f.d.alterDir(func(names map[string]*node) { delete(names, name) })
}

func (f *files) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	f.d.mu.Lock()
	n := f.d.names[from]
	f.d.mu.Unlock()
	if n == nil {
		return fuse.ENOENT
	}
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	if s := f.d.refuses(0); s != fuse.OK {
		return s
	}
	return f.d.alterDir(func(names map[string]*node) {
		delete(names, from)
		names[to] = n
	})
}

func (f *files) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&(syscall.O_WRONLY|syscall.O_RDWR) != 0 && f.d.readOnly() {
		return fuse.Status(syscall.EROFS)
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (f *files) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := f.d.nodes[in.NodeId]
	if f.d.fault.Read != 0 && n != nil && !mapped(f.d.nameOf(n)) {
		return nil, fuse.Status(f.d.fault.Read)
	}
	if n == nil || in.Offset >= uint64(len(n.data)) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	return fuse.ReadResultData(buf[:copy(buf, n.data[in.Offset:])]), fuse.OK
}

func (f *files) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if s := f.d.refuses(max(0, f.d.grows(in.NodeId, int(in.Offset)+len(data)))); s != fuse.OK {
		return 0, s
	}
	s := f.d.alter(func() { f.d.nodes[in.NodeId].write(data, int(in.Offset)) })
	return uint32(len(data)), s
}

func (f *files) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	f.d.mu.Lock()
	size := max(len(f.d.nodes[in.NodeId].data), int(in.Offset+in.Length))
	f.d.mu.Unlock()
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	return f.resize(in.NodeId, size)
}

func (f *files) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if s := f.d.syncFails(in.NodeId); s != fuse.OK {
		return s
	}
	return f.d.syncing(func() {
		n := f.d.nodes[in.NodeId]
		f.d.count(n)
		n.sync()
	})
}

func (f *files) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status {
	if s := f.d.syncFails(0); s != fuse.OK {
		return s
	}
	return f.d.syncing(func() { f.d.synced, f.d.pending = clone(f.d.names), nil })
}

func (f *files) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

func (f *files) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	for i, name := range sortedNames(f.d.names) {
		e := fuse.DirEntry{Name: name, Ino: f.d.names[name].ino, Mode: syscall.S_IFREG}
		if uint64(i) >= in.Offset && !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func (f *files) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, Blocks: 1 << 20, Bfree: 1 << 19, Bavail: 1 << 19, NameLen: 255}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.fault.Full {
		out.Bfree = uint64(max(0, f.d.room-f.d.used())) / 4096
		out.Bavail = out.Bfree
	}
	return fuse.OK
}
