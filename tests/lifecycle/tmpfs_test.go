//go:build linux

package lifecycle_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "mounter", Run: mounterRole, Optional: true}) }

// mounterRole mounts a small tmpfs in its own mount namespace. Other processes reach it by
// /proc/PID/root.
func mounterRole(c *shmemtest.Conn) error {
	dir, size := c.Args()[0], c.Args()[1]
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	c.Send("mounted")
	_, err := c.Recv()
	return err
}

// namespaces returns attributes of a process with its own namespaces. A user other than root gets
// them in a user namespace.
func namespaces(flags uintptr) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: flags}
	if os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// canMount reports whether this user can create a mount namespace.
var canMount = sync.OnceValue(func() bool {
	p, err := os.StartProcess("/proc/self/exe", []string{"x", "-test.run=^$"}, &os.ProcAttr{Sys: namespaces(syscall.CLONE_NEWNS)})
	if err != nil {
		return false
	}
	_, _ = p.Wait()
	return true
})

// smallTmpfs returns an empty directory on its own tmpfs of the given size, such as 1m.
func smallTmpfs(t testing.TB, size string) string {
	t.Helper()
	if !canMount() {
		t.Skip("a small tmpfs needs root, or a kernel that lets users make namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)")
	}
	at := t.TempDir()
	c := shmemtest.Command{Role: "mounter", Args: []string{at, size}, SysProcAttr: namespaces(syscall.CLONE_NEWNS)}.Start(t)
	if line, err := c.Recv(); err != nil {
		t.Skipf("a tmpfs cannot be mounted here (%v, %q): this needs root with CAP_SYS_ADMIN", err, line)
	}
	return filepath.Join("/proc", strconv.Itoa(c.Pid()), "root", at)
}

func TestFullTmpfs(t *testing.T) {
	dir := smallTmpfs(t, "1m")
	o := &shmem.Options{Dir: dir}
	fits := open[page](t, dir, "fits")
	_, err := shmem.OpenSegment("big", 2<<20, o)
	wantErr(t, err, shmem.ErrNoSpace, "open big", dir, "KiB needed", "of 1024 KiB free", "64 MiB", "--shm-size", "Options.Dir", "Reclaim")
	wantErr(t, err, syscall.ENOSPC)
	e, ok := errors.AsType[*shmem.SpaceError](err)
	if !ok || e.Dir != dir || e.Need < 2<<20 || e.Size != 1<<20 || e.Free < 900<<10 || e.Free >= 1<<20 {
		t.Errorf("detail %+v", e)
	}
	wantNames(t, dir, "fits")
	fits.Value().N = 1 // the existing segment still has its memory
	open[page](t, dir, "small")
}

// A new segment takes the memory of garbage.
func TestFullOfGarbage(t *testing.T) {
	dir := smallTmpfs(t, "1m")
	for _, name := range []string{"a", "b"} {
		s, err := shmem.CreateSegment(name, 300<<10, &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
		abandon(segment(t, s, err))
	}
	s, err := shmem.CreateSegment("c", 600<<10, &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	check(t, segment(t, s, err).Close())
	wantNames(t, dir)
}

// A size that cannot be had at all is rejected up front: reserving the rest could make the kernel
// kill a process.
func TestHuge(t *testing.T) {
	dir := smallTmpfs(t, "40m")
	o := &shmem.Options{Dir: dir, Undo: shmem.UndoNever}
	for _, size := range []int{48 << 20, math.MaxInt / 4, math.MaxInt} {
		_, err := shmem.OpenSegment("big", size, o)
		if e, ok := errors.AsType[*shmem.SpaceError](err); size < math.MaxInt && (!ok || e.Free != 40<<20) || err == nil {
			t.Errorf("%d bytes: detail %+v of %v", size, e, err)
		}
	}
	wantNames(t, dir)
}

func TestNoInodes(t *testing.T) {
	dir := smallTmpfs(t, "1m,nr_inodes=3")
	open[point](t, dir, "a")
	open[point](t, dir, "b")
	_, err := shmem.Open[point]("c", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrNoSpace, dir)
}
