//go:build linux && (amd64 || arm64)

// Package kernel is the kernel of the simulated machine: files in one directory with names and lock
// bytes, mappings, futexes, and descriptors of processes. It has what internal/sys calls, and no
// more.
//
// Memory is real: every file lies in one memory file of the real kernel, and each simulated process
// maps it at its own address. Every system call is a point of package world.
package kernel

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/shmembox/shmem/tests/replay/world"
)

// machine is the state of one run.
type machine struct {
	names  map[string]*inode
	inodes []*inode
	free   int64 // bytes of the file system that are left
	frames int64 // of memory, handed out so far
}

var m machine

// Dir is the only directory, Size the size of its file system.
const (
	Dir  = "/dev/shm"
	Size = 64 << 20
)

func init() {
	world.Boot = func(*world.Run) {
		if memory == nil {
			start()
		}
		m = machine{names: map[string]*inode{}, free: Size}
	}
}

// SetFree sets how many bytes the file system has left.
func SetFree(n int64) { m.free = n }

// An inode is a file.
type inode struct {
	number uint64
	name   string // the last one it had
	size   int64
	frame  int64 // where it begins in memory
	room   int64 // bytes of memory it has from there on
	mode   uint32
	nlink  int
	sealed int
	opens  int
	locks  []lock
}

// label is the file's name in traces.
func (n *inode) label() string {
	if n.name == "" {
		return fmt.Sprintf("#%d", n.number)
	}
	return path.Base(n.name)
}

// A lock is a range of bytes that an open file has locked.
type lock struct {
	from, to int64
	shared   bool
	of       *openFile
}

func (l lock) meets(from, to int64) bool { return l.from < to && from < l.to }

// An openFile is an open file description. A process and its forked children share it.
type openFile struct {
	node  *inode
	write bool
	dir   bool
	pid   int // of a process descriptor
	held  *world.Held
}

// A process is what the kernel keeps for a simulated process.
type process struct {
	files   []*openFile // by descriptor, from 3 on
	regions []region
	used    uintptr // of its window of addresses
	space   uint64  // its PID namespace, if not the usual one
}

// initial is the number of the PID namespace of all processes that are not moved to another one.
const initial = 4026531836

// Move moves a process to the PID namespace n, 1 or more. It keeps its PID, which is another
// process's there, or none's.
func Move(p *world.Process, n uint64) {
	p.Do(func() { current().space = initial + n })
}

// Namespace is the number of the running process's PID namespace.
func Namespace() uint64 { return cmp.Or(current().space, initial) }

const firstFD = 3

func current() *process {
	p := world.Current()
	if p.Kernel == nil {
		p.Kernel = &process{}
	}
	return p.Kernel.(*process)
}

func newInode(mode uint32) *inode {
	n := &inode{number: uint64(1000 + len(m.inodes)), mode: mode}
	m.inodes = append(m.inodes, n)
	return n
}

// install gives an open file a descriptor.
func install(f *openFile) int {
	p := current()
	name := "a process descriptor"
	switch {
	case f.node != nil:
		name = "a file of " + f.node.label()
		f.node.opens++
	case f.dir:
		name = "a directory"
	}
	f.held = world.Current().Hold(name, f.release)
	for fd, there := range p.files {
		if there == nil {
			p.files[fd] = f
			return fd + firstFD
		}
	}
	p.files = append(p.files, f)
	return len(p.files) - 1 + firstFD
}

// release is what happens when the last process has closed an open file: its locks go.
func (f *openFile) release() {
	if n := f.node; n != nil {
		n.locks = slices.DeleteFunc(n.locks, func(l lock) bool { return l.of == f })
		n.opens--
		n.collect()
	}
}

// collect gives the memory of a file back that has neither a name nor an opener.
func (n *inode) collect() {
	if n.nlink == 0 && n.opens == 0 {
		m.free += n.size
	}
}

func file(fd int) (*openFile, error) {
	p := current()
	if i := fd - firstFD; i >= 0 && i < len(p.files) && p.files[i] != nil {
		return p.files[i], nil
	}
	return nil, syscall.EBADF
}

// call is the point of a system call that may fail with EINTR, or with one of errs if the scenario
// allows that.
func call(errs ...error) error {
	if !world.Faulty() {
		_ = world.Call()
		return nil
	}
	errs = slices.DeleteFunc(errs, func(e error) bool {
		return e != syscall.EINTR && !world.Allowed(e)
	})
	return world.Call(errs...)
}

// Open is open(2). flags are those of Linux.
func Open(name string, flags int, mode uint32) (fd int, err error) {
	if err := call(syscall.EINTR, syscall.EMFILE); err != nil {
		return -1, err
	}
	defer func() { world.Note("open %s: %d %v", path.Base(name), fd, err) }()
	f := &openFile{write: flags&3 != 0}
	switch {
	case flags&TmpFile == TmpFile:
		f.node = newInode(mode)
	case flags&syscall.O_CREAT != 0:
		if m.names[name] != nil {
			return -1, syscall.EEXIST
		}
		f.node = newInode(mode)
		f.node.link(name)
	case name == Dir:
		f.dir = true
	default:
		if f.node, err = find(name); err != nil {
			return -1, err
		}
	}
	return install(f), nil
}

// find is the file at a path, which may be /proc/self/fd/N.
func find(name string) (*inode, error) {
	if n, ok := strings.CutPrefix(name, "/proc/self/fd/"); ok {
		fd, _ := strconv.Atoi(n)
		f, err := file(fd)
		if err != nil {
			return nil, syscall.ENOENT
		}
		return f.node, nil
	}
	if n := m.names[name]; n != nil {
		return n, nil
	}
	return nil, syscall.ENOENT
}

func (n *inode) link(name string) {
	m.names[name] = n
	n.name = name
	n.nlink++
}

// Close is close(2).
func Close(fd int) error {
	world.Point()
	f, err := file(fd)
	if err != nil {
		return err
	}
	world.Note("close %d", fd)
	current().files[fd-firstFD] = nil
	world.Current().LetGo(f.held)
	return nil
}

// Link is linkat(2): it gives the file at from another name.
func Link(from, to string) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	n, err := find(from)
	if err == nil && m.names[to] != nil {
		err = syscall.EEXIST
	}
	if err == nil {
		n.link(to)
	}
	world.Note("link %s: %v", path.Base(to), err)
	return err
}

// Rename is renameat2(2) with RENAME_NOREPLACE.
func Rename(from, to string) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	n := m.names[from]
	switch {
	case n == nil:
		return syscall.ENOENT
	case m.names[to] != nil:
		return syscall.EEXIST
	}
	delete(m.names, from)
	n.nlink--
	n.link(to)
	world.Note("rename %s to %s", path.Base(from), path.Base(to))
	return nil
}

// Unlink is unlink(2).
func Unlink(name string) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	n := m.names[name]
	if n == nil {
		return syscall.ENOENT
	}
	world.Note("unlink %s", path.Base(name))
	delete(m.names, name)
	n.nlink--
	n.collect()
	return nil
}

// Status is what stat(2) tells.
type Status struct {
	Number uint64
	Size   int64
	Mode   uint32
	Nlink  int
}

func (n *inode) status() Status {
	return Status{n.number, n.size, n.mode | syscall.S_IFREG, n.nlink}
}

// Lstat is lstat(2).
func Lstat(name string) (Status, error) {
	if err := call(syscall.EINTR); err != nil {
		return Status{}, err
	}
	if name == Dir {
		return Status{Number: 1, Mode: 0o1777 | syscall.S_IFDIR, Nlink: 2}, nil
	}
	n, err := find(name)
	world.Note("lstat %s: %v", path.Base(name), err)
	if err != nil {
		return Status{}, err
	}
	return n.status(), nil
}

// Fstat is fstat(2).
func Fstat(fd int) (Status, error) {
	if err := call(syscall.EINTR); err != nil {
		return Status{}, err
	}
	f, err := file(fd)
	if err != nil {
		return Status{}, err
	}
	return f.node.status(), nil
}

// Chmod is fchmod(2).
func Chmod(fd int, mode uint32) error {
	world.Point()
	f, err := file(fd)
	if err == nil {
		f.node.mode = mode
	}
	return err
}

// Readlink is readlink(2) of /proc/self/fd/N.
func Readlink(name string) (string, error) {
	world.Point()
	n, err := find(name)
	if err != nil {
		return "", err
	}
	if n.nlink == 0 {
		return n.name + " (deleted)", nil
	}
	return n.name, nil
}

// Names are the names in the directory, sorted.
func Names() (names []string) {
	for n := range m.names {
		names = append(names, path.Base(n))
	}
	slices.Sort(names)
	return names
}

// List is reading the directory.
func List() []string {
	world.Point()
	return Names()
}

// SetLock is fcntl(F_OFD_SETLK). typ is F_RDLCK, F_WRLCK or F_UNLCK.
func SetLock(fd int, typ int16, from, n int64) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	f, err := file(fd)
	if err != nil {
		return err
	}
	to := end(from, n)
	if typ != syscall.F_UNLCK && conflict(f, typ, from, to) != nil {
		world.Note("lock %s: held", bytes(from, to))
		return syscall.EAGAIN
	}
	f.unlock(from, to)
	if typ != syscall.F_UNLCK {
		f.node.locks = append(f.node.locks, lock{from, to, typ == syscall.F_RDLCK, f})
		world.Note("lock %s", bytes(from, to))
	} else {
		world.Note("unlock %s", bytes(from, to))
	}
	return nil
}

// GetLock is fcntl(F_OFD_GETLK): it reports whether another open file holds a lock that conflicts.
func GetLock(fd int, typ int16, from, n int64) (held bool, err error) {
	if err := call(syscall.EINTR); err != nil {
		return false, err
	}
	f, err := file(fd)
	if err != nil {
		return false, err
	}
	held = conflict(f, typ, from, end(from, n)) != nil
	world.Note("is %s locked: %v", bytes(from, end(from, n)), held)
	return held, nil
}

func end(from, n int64) int64 {
	if n == 0 {
		return 1<<63 - 1
	}
	return from + n
}

func conflict(f *openFile, typ int16, from, to int64) *lock {
	for i := range f.node.locks {
		l := &f.node.locks[i]
		if l.of != f && l.meets(from, to) && !(l.shared && typ == syscall.F_RDLCK) {
			return l
		}
	}
	return nil
}

// unlock takes a range out of what f has locked.
func (f *openFile) unlock(from, to int64) {
	var kept []lock
	for _, l := range f.node.locks {
		if l.of != f || !l.meets(from, to) {
			kept = append(kept, l)
			continue
		}
		if l.from < from {
			kept = append(kept, lock{l.from, from, l.shared, f})
		}
		if l.to > to {
			kept = append(kept, lock{to, l.to, l.shared, f})
		}
	}
	f.node.locks = kept
}

// bytes names lock bytes as internal/sys does.
func bytes(from, to int64) string {
	name := func(b int64) string {
		switch b -= 1 << 62; {
		case b == 0:
			return "the gate"
		case b == 15:
			return "presence"
		case b >= 16:
			return fmt.Sprintf("slot %d", b-16)
		}
		return fmt.Sprint(b)
	}
	if to == from+1 {
		return name(from)
	}
	return name(from) + " to " + name(to-1)
}

// Locks is how many ranges are locked on all files.
func Locks() (n int) {
	for _, x := range m.inodes {
		n += len(x.locks)
	}
	return n
}

// InodeOf is the number of the file of that name, 0 if there is none.
func InodeOf(name string) uint64 {
	return cmp.Or(m.names[name], &inode{}).number
}

// Seek is lseek(2) for data or else a hole. Files have no holes.
func Seek(fd int, off int64, data bool) (int64, error) {
	if err := call(syscall.EINTR); err != nil {
		return 0, err
	}
	f, err := file(fd)
	switch {
	case err != nil:
		return 0, err
	case off >= f.node.size:
		return 0, syscall.ENXIO
	case data:
		return off, nil
	}
	return f.node.size, nil
}

// Pread is pread(2), Pwrite is pwrite(2).
func Pread(fd int, b []byte, off int64) (int, error) {
	if err := call(syscall.EINTR); err != nil {
		return 0, err
	}
	f, err := file(fd)
	if err != nil {
		return 0, err
	}
	n := 0
	if off < f.node.size {
		n = copy(b, f.node.memory()[off:])
	}
	world.Note("pread %d bytes at %d", n, off)
	digest(off, b[:n])
	return n, nil
}

// Pwrite is pwrite(2).
func Pwrite(fd int, b []byte, off int64) (int, error) {
	if err := call(syscall.EINTR); err != nil {
		return 0, err
	}
	f, err := file(fd)
	if err != nil {
		return 0, err
	}
	if grown := off + int64(len(b)); grown > f.node.size {
		if err := f.node.resize(grown); err != nil {
			return 0, err
		}
	}
	world.Note("pwrite %d bytes at %d", len(b), off)
	digest(off, b)
	return copy(f.node.memory()[off:], b), nil
}

// digest mixes what a call copied into the digest of the run.
func digest(off int64, b []byte) {
	if world.Threaded() {
		world.Did(uint64(off), uint64(crc32.ChecksumIEEE(b)))
	}
}

// Allocate is fallocate(2) with mode 0.
func Allocate(fd int, off, n int64) error {
	if err := call(syscall.EINTR, syscall.ENOSPC, syscall.ENOMEM); err != nil {
		return err
	}
	f, err := file(fd)
	if err == nil && off+n > f.node.size {
		err = f.node.resize(off + n)
	}
	world.Note("fallocate %d bytes: %v", n, err)
	return err
}

// Truncate is ftruncate(2).
func Truncate(fd int, n int64) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	f, err := file(fd)
	if err == nil {
		err = f.node.resize(n)
	}
	return err
}

// Seal adds seals, Seals tells them.
func Seal(fd, seals int) error {
	f, err := file(fd)
	if err == nil {
		f.node.sealed |= seals
	}
	return err
}

// Seals are the seals of a file.
func Seals(fd int) (int, error) {
	f, err := file(fd)
	if err != nil {
		return 0, err
	}
	return f.node.sealed, nil
}

// Anonymous is memfd_create(2).
func Anonymous() (int, error) {
	if err := call(syscall.EMFILE); err != nil {
		return -1, err
	}
	return install(&openFile{node: newInode(0o600), write: true}), nil
}

// Free is how many bytes the file system has left.
func Free() int64 { return m.free }
