package main

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapShared maps n bytes of a file of the trial, which side 0 makes.
func mapShared(t *Trial, side int, name string, n int) ([]byte, error) {
	path := t.Path(name)
	if side == 0 {
		f, err := os.Create(path + ".tmp")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := f.Truncate(int64(n)); err != nil {
			return nil, err
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(t.Await(name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_POPULATE)
}

// mapOpen maps n bytes of a file, which the first caller makes.
func mapOpen(t *Trial, name string, n int) ([]byte, error) {
	f, err := os.OpenFile(t.Path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(int64(n)); err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_POPULATE)
}

func mkfifo(path string) { unix.Mkfifo(path, 0o600) }

// as sees memory as a T.
func as[T any](b []byte) *T {
	var v T
	_ = b[unsafe.Sizeof(v)-1]
	return (*T)(unsafe.Pointer(&b[0]))
}

// slice sees memory as n Ts.
func slice[T any](b []byte, n int) []T { return unsafe.Slice(as[T](b), n) }

// bytesOf sees a T as memory.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func futexWait(w *atomic.Uint32, old uint32) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(old), 0, 0, 0)
}

func futexWake(w *atomic.Uint32, n int) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, uintptr(n), 0, 0, 0)
}

func yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// POSIX message queues, which the standard library and x/sys do not have.

func mqOpen(name string, flags int, messages, size int) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	attr := [8]int{1: messages, 2: size}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags),
		0o600, uintptr(unsafe.Pointer(&attr)), 0, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("mq_open", errno)
	}
	return int(fd), nil
}

func mqUnlink(name string) {
	p, _ := unix.BytePtrFromString(name)
	unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0)
}

// mqCall is mq_timedsend or mq_timedreceive without a time limit.
func mqCall(call uintptr, fd int, b []byte) error {
	for {
		_, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])),
			uintptr(len(b)), 0, 0, 0)
		if errno != unix.EINTR {
			return os.NewSyscallError("mq", orNil(errno))
		}
	}
}

func orNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
