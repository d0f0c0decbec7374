//go:build linux && (amd64 || arm64)

package lifecycle_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "without-locks", Run: withoutLocksRole, Optional: true})
}

// refuseLocks makes the kernel refuse locks of open file descriptions in this process, as gVisor
// does, by a seccomp filter.
func refuseLocks() error {
	type instruction struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	const (
		load, equal, result = 0x20, 0x15, 0x06 // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
		allow, fail         = 0x7fff0000, 0x00050000 | uint32(syscall.EINVAL)
		number, command     = 0, 24 // offsets in seccomp_data: of the call, and of its second argument
		noNewPrivs          = 38
		setModeFilter, all  = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	)
	filter := []instruction{
		{load, 0, 0, number},
		{equal, 0, 5, syscall.SYS_FCNTL},
		{load, 0, 0, command},
		{equal, 2, 0, 36}, // F_OFD_GETLK
		{equal, 1, 0, 37}, // F_OFD_SETLK
		{equal, 0, 1, 38}, // F_OFD_SETLKW
		{result, 0, 0, fail},
		{result, 0, 0, allow},
	}
	program := struct {
		n      uint16
		filter *instruction
	}{uint16(len(filter)), &filter[0]}
	seccomp := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH]
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("prctl: %w", e)
	}
	if _, _, e := syscall.RawSyscall(seccomp, setModeFilter, all, uintptr(unsafe.Pointer(&program))); e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

func withoutLocksRole(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	if err := refuseLocks(); err != nil {
		c.Send("no filter: %v", err)
		return nil
	}
	o := &shmem.Options{Dir: dir}
	_, create := shmem.Create[point]("new", o)
	_, attach := shmem.Attach[point]("p", o)
	_, anonymous := shmem.CreateAnonymous(8, o)
	_, stat := shmem.Stat(dir, "p")
	_, read := shmem.Attach[point]("p", &shmem.Options{Dir: dir, ReadOnly: true})
	all := []error{create, attach, anonymous, stat, read}
	for _, err := range shmem.List(dir) {
		all = append(all, err)
	}
	for _, err := range shmem.Reclaim(dir) {
		all = append(all, err)
	}
	for _, err := range all {
		c.Send("%v %v %v", errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EINVAL), err)
	}
	c.Send("%v", shmem.Remove(dir, "p"))
	return nil
}

// A kernel without locks of open file descriptions is told as such, whatever is called. A segment
// there is not damaged.
func TestWithoutLocks(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	c := shmemtest.Start(t, "without-locks", dir)
	for range 7 {
		line, err := c.Recv()
		check(t, err)
		if strings.HasPrefix(line, "no filter") {
			t.Log(line)
			return
		}
		for _, want := range []string{"true true ", "F_OFD_SETLK", "gVisor"} {
			if !strings.Contains(line, want) {
				t.Errorf("%q, want %q", line, want)
			}
		}
	}
	c.Expect(t, "<nil>")
	wantNames(t, dir)
	check(t, b.Close())
}
