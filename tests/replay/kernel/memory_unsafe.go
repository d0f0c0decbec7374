//go:build linux && (amd64 || arm64)

package kernel

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/tests/replay/world"
)

// Every simulated process has a window of real addresses. All windows lie side by side, so that it
// takes one comparison to tell shared memory from other memory.
const (
	windowBits = 33
	windows    = 32
	page       = 4096
	memorySize = 1 << 30 // of all files of a run
)

var (
	base   = uintptr(1) << 63 // of the first window; until there is one no address is in it
	memory []byte             // the real kernel's file, as a whole
	memfd  int                // its descriptor
)

func mmap(addr, n uintptr, prot, flags, fd int, off int64) uintptr {
	p, _, e := syscall.Syscall6(syscall.SYS_MMAP, addr, n, uintptr(prot), uintptr(flags),
		uintptr(fd), uintptr(off))
	if e != 0 {
		panic("replay: mmap: " + e.Error())
	}
	return p
}

const nothing = syscall.MAP_PRIVATE | syscall.MAP_ANON | syscall.MAP_NORESERVE

// start reserves the windows and makes the memory, once.
func start() {
	name := [...]byte{'r', 0}
	// close on exec
	fd, _, e := syscall.Syscall(sysMemfdCreate, uintptr(unsafe.Pointer(&name)), 1, 0)
	if e != 0 {
		panic("replay: memfd_create: " + e.Error())
	}
	memfd = int(fd)
	if err := syscall.Ftruncate(memfd, memorySize); err != nil {
		panic("replay: ftruncate: " + err.Error())
	}
	view := mmap(0, memorySize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, memfd, 0)
	memory = unsafe.Slice((*byte)(pointer(view)), memorySize)
	base = mmap(0, windows<<windowBits, syscall.PROT_NONE, nothing, -1, 0)
}

// pointer makes a pointer of an address that the real kernel gave.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// Shared reports whether p is an address in a window. Off is its distance from the first one.
func Shared(p unsafe.Pointer) bool { return uintptr(p)-base < windows<<windowBits }

// Off is the distance of an address from the first window.
func Off(p unsafe.Pointer) uint64 { return uint64(uintptr(p) - base) }

// A region is a part of a file that a process has mapped.
type region struct {
	at, n uintptr
	node  *inode
	off   int64
}

func regionOf(p uintptr) *region {
	if world.Running() == nil {
		return nil
	}
	for _, q := range world.Running().Processes() {
		if k, ok := q.Kernel.(*process); ok {
			for i := range k.regions {
				if r := &k.regions[i]; p-r.at < r.n {
					return r
				}
			}
		}
	}
	return nil
}

// Place names the file that p is mapped from, and the offset in it.
func Place(p unsafe.Pointer) (name string, off int64) {
	if r := regionOf(uintptr(p)); r != nil {
		return r.node.label(), r.off + int64(uintptr(p)-r.at)
	}
	return "memory", 0
}

// InodeAt is the number of the file that is mapped at p, 0 if there is none.
func InodeAt[T any](p *T) uint64 {
	if r := regionOf(uintptr(unsafe.Pointer(p))); r != nil {
		return r.node.number
	}
	return 0
}

// memory is the file's bytes.
func (n *inode) memory() []byte { return memory[n.frame:][:n.size] }

// resize changes the size of a file. A file that grows beyond the memory it has is moved, which is
// possible only while no process has mapped it.
func (n *inode) resize(size int64) error {
	if size-n.size > m.free {
		return syscall.ENOSPC
	}
	if size > n.room {
		room := (size + page - 1) &^ (page - 1)
		frame := m.frames
		if m.frames += room; m.frames > memorySize {
			return syscall.ENOMEM
		}
		clear(memory[frame:][:room])
		copy(memory[frame:], n.memory())
		n.frame, n.room = frame, room
	}
	m.free -= size - n.size
	n.size = size
	return nil
}

// there is what is mapped in the windows now, by address, from this run or an earlier one: the next
// run mostly wants the same again.
var there = map[uintptr]mapped{}

type mapped struct {
	n    uintptr
	off  int64
	prot int
}

// place maps memory at an address of a window.
func place(at uintptr, want mapped) {
	if there[at] == want {
		return
	}
	for a, old := range there {
		if a < at+want.n && at < a+old.n {
			mmap(a, old.n, syscall.PROT_NONE, nothing|syscall.MAP_FIXED, -1, 0)
			delete(there, a)
		}
	}
	mmap(at, want.n, want.prot, syscall.MAP_SHARED|syscall.MAP_FIXED|syscall.MAP_POPULATE, memfd,
		want.off)
	there[at] = want
}

// Map is mmap(2). Without a descriptor it reserves addresses, or retires a mapping.
func Map(
	fd int, off int64, addr unsafe.Pointer, n uintptr, prot int, fixed bool,
) (unsafe.Pointer, error) {
	if err := call(syscall.ENOMEM); err != nil {
		return nil, err
	}
	p := current()
	at := uintptr(addr)
	if at == 0 || !fixed {
		at = base + uintptr(world.Current().ID)<<windowBits + p.used
	}
	if end := at + n - base - uintptr(world.Current().ID)<<windowBits; end > p.used {
		if end > 1<<windowBits {
			return nil, syscall.ENOMEM
		}
		p.used = end
	}
	if fd < 0 {
		p.unmap(at, n)
		return pointer(at), nil
	}
	f, err := file(fd)
	if err != nil {
		return nil, err
	}
	world.Note("mmap %s", f.node.label())
	p.unmap(at, n)
	place(at, mapped{n, f.node.frame + off, prot})
	p.regions = append(p.regions, region{at, n, f.node, off})
	return pointer(at), nil
}

// unmap takes away what the process has mapped at [at, at+n).
func (p *process) unmap(at, n uintptr) {
	for i := 0; i < len(p.regions); i++ {
		if r := p.regions[i]; r.at < at+n && at < r.at+r.n {
			world.Note("munmap %s", r.node.label())
			mmap(r.at, r.n, syscall.PROT_NONE, nothing|syscall.MAP_FIXED, -1, 0)
			delete(there, r.at)
			p.regions = append(p.regions[:i:i], p.regions[i+1:]...)
			i--
		}
	}
}

// Protect is mprotect(2) to read only, of the first n bytes of a mapping.
func Protect(addr unsafe.Pointer, n uintptr) error {
	world.Point()
	_, _, e := syscall.Syscall(syscall.SYS_MPROTECT, uintptr(addr), n, syscall.PROT_READ)
	if e != 0 {
		return e
	}
	if old, ok := there[uintptr(addr)]; ok { // the next run maps it anew
		old.prot = -1
		there[uintptr(addr)] = old
	}
	return nil
}

func futex(p unsafe.Pointer) world.Key {
	if r := regionOf(uintptr(p)); r != nil {
		return world.Key{Kind: world.Futex, A: uintptr(r.node.number),
			B: uintptr(r.off) + uintptr(p) - r.at}
	}
	return world.Key{Kind: world.Futex, B: uintptr(p)}
}

// FutexWait is futex(FUTEX_WAIT) with a time limit.
func FutexWait(p unsafe.Pointer, val uint32, d time.Duration) error {
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	name, off := Place(p)
	if *(*uint32)(p) != val {
		world.Note("futex wait at %s+%d: not %#x", name, off, val)
		return syscall.EAGAIN
	}
	world.Note("futex wait at %s+%d, for %v", name, off, d)
	woken := world.Block(int64(d), futex(p))
	world.Note("futex woken: %v", woken)
	return nil
}

// A Futex is struct futex_waitv.
type Futex struct {
	val, addr uint64
	_         [2]uint32
}

// FutexWaitAny is futex_waitv(2) without a time limit.
func FutexWaitAny(list []Futex) error {
	if len(list) == 0 {
		return syscall.EINVAL
	}
	if err := call(syscall.EINTR); err != nil {
		return err
	}
	var keys []world.Key
	for _, f := range list {
		p := pointer(uintptr(f.addr))
		if Shared(p) && regionOf(uintptr(p)) == nil {
			return syscall.EFAULT
		}
		if uint64(*(*uint32)(p)) != f.val {
			world.Note("futex wait: one of %d differs", len(list))
			return syscall.EAGAIN
		}
		keys = append(keys, futex(p))
	}
	world.Note("futex wait for %d words", len(list))
	world.Block(-1, keys...)
	return nil
}

// FutexWake is futex(FUTEX_WAKE).
func FutexWake(p unsafe.Pointer, n int) int {
	world.Point()
	woken := world.Wake(futex(p), n)
	if world.Tracing() {
		name, off := Place(p)
		world.Note("futex wake at %s+%d: %d", name, off, woken)
	}
	return woken
}
