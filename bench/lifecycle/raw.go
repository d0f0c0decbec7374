//go:build linux

package main

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The numbers of a default box of one page: what the library's calls are made with.
const (
	pageSize  = 4096
	fileSize  = 7 * pageSize // value, undo image, 256 slots, header
	header    = fileSize - pageSize
	slotSize  = 64
	tailSize  = 16*slotSize + pageSize // what one read takes: first slots and header
	gateByte  = 1 << 62
	firstSlot = gateByte + 16
	slots     = 256
	ownerWord = header + 256
)

// area is reserved address space: the library's mappings lie in one, and leave addresses that
// fault.
var area = func() []byte {
	b, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	must(err)
	return b[1<<20:]
}()

// mapAt maps a file at the beginning of the area.
func mapAt(fd int) {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(&area[0]), fileSize,
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	must(err)
}

// retire makes the beginning of the area fault again.
func retire() {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(&area[0]), fileSize, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE|unix.MAP_FIXED)
	must(err)
}

func lock(fd int, off int64) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: 1}
	must(unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l))
}

func unlock(fd int, off int64) {
	l := unix.Flock_t{Type: unix.F_UNLCK, Start: off, Len: 1}
	must(unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l))
}

// look asks for the locks of others at the slots.
func look(fd int) {
	l := unix.Flock_t{Type: unix.F_RDLCK, Start: firstSlot, Len: slots}
	must(unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l))
}

func pread(fd int, b []byte, off int64) {
	_, err := unix.Pread(fd, b, off)
	must(err)
}

func pwrite(fd int, b []byte, off int64) {
	_, err := unix.Pwrite(fd, b, off)
	must(err)
}

// What the calls read and write.
var (
	tail [tailSize]byte
	stat unix.Stat_t
)

// bareExisting is what any mapping of an existing file takes: 4 calls.
func bareExisting(path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(err)
	m, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	m[0]++
	must(unix.Munmap(m))
	must(unix.Close(fd))
}

// rawExisting makes the calls of Open and Close of a box that another attachment has, in their
// order: those that tests/calls traces.
func rawExisting(path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	must(err)
	must(unix.Fstat(fd, &stat))
	unix.Geteuid()
	mapAt(fd)
	lock(fd, gateByte)
	pread(fd, tail[:], fileSize-tailSize)
	must(unix.Fstatat(unix.AT_FDCWD, path, &stat, unix.AT_SYMLINK_NOFOLLOW))
	look(fd)
	lock(fd, firstSlot+1)
	pwrite(fd, tail[:slotSize], header-2*slotSize)
	unlock(fd, gateByte)
	area[header]++            // it counts an event
	area[0]++                 // the caller's
	area[header-2*slotSize]++ // the slot is free
	unlock(fd, firstSlot+1)
	look(fd)
	retire()
	must(unix.Close(fd))
}

// leastExisting makes the calls that no such protocol can do without: it finds out which file it
// is, takes a lock that tells others that it lives, checks under a gate that the name leads to the
// file, and looks who is left.
func leastExisting(path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	must(err)
	must(unix.Fstat(fd, &stat))
	m, err := unix.Mmap(fd, 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	lock(fd, gateByte)
	must(unix.Fstatat(unix.AT_FDCWD, path, &stat, unix.AT_SYMLINK_NOFOLLOW))
	look(fd)
	lock(fd, firstSlot+1)
	unlock(fd, gateByte)
	m[header]++
	m[0]++
	unlock(fd, firstSlot+1)
	look(fd)
	must(unix.Munmap(m))
	must(unix.Close(fd))
}

// bareNew is what any mapping of a new file takes: 6 calls.
func bareNew(path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	must(err)
	must(unix.Ftruncate(fd, pageSize))
	m, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	m[0]++
	must(unix.Munmap(m))
	must(unix.Unlink(path))
	must(unix.Close(fd))
}

// rawNew makes the calls of Open and Close of a new box, in their order.
func rawNew(dir, path string) {
	_, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != unix.ENOENT {
		must(err)
	}
	unix.Geteuid()
	fd := create(dir)
	mapAt(fd)
	lock(fd, firstSlot)
	pwrite(fd, tail[:slotSize+pageSize], header-slotSize)
	link(fd, path)
	area[0]++ // the caller's
	area[header]++
	lock(fd, gateByte)
	pread(fd, tail[:8], ownerWord)
	area[header-slotSize]++ // the slot is free
	pwrite(fd, tail[:8], ownerWord)
	must(unix.Fstatat(unix.AT_FDCWD, path, &stat, unix.AT_SYMLINK_NOFOLLOW))
	must(unix.Unlink(path))
	unlock(fd, gateByte)
	retire()
	must(unix.Close(fd))
}

// leastNew makes the calls that no such protocol can do without: a file that no other process sees
// before it is whole, whose memory is reserved, and which is alive by a lock.
func leastNew(dir, path string) {
	fd := create(dir)
	m, err := unix.Mmap(fd, 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	lock(fd, firstSlot)
	m[0]++
	m[header]++
	link(fd, path)
	lock(fd, gateByte)
	must(unix.Fstatat(unix.AT_FDCWD, path, &stat, unix.AT_SYMLINK_NOFOLLOW))
	must(unix.Unlink(path))
	must(unix.Munmap(m))
	must(unix.Close(fd))
}

// create makes a file without a name, with memory.
func create(dir string) int {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	must(err)
	must(unix.Fstat(fd, &stat))
	must(unix.Fallocate(fd, 0, 0, fileSize))
	return fd
}

func link(fd int, path string) {
	must(unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, path,
		unix.AT_SYMLINK_FOLLOW))
}
