//go:build linux

package shmem_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "mounter", Run: mounterRole, Optional: true}) }

// mounterRole mounts a small tmpfs that only its own mount namespace has. It is reached by /proc/PID/root.
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

// namespaces are flags for a new process with namespaces of its own, which a user other than root
// gets in a user namespace.
func namespaces(flags uintptr) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: flags}
	if os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// canMount reports whether this user can have a mount namespace.
var canMount = sync.OnceValue(func() bool {
	p, err := os.StartProcess("/proc/self/exe", []string{"x", "-test.run=^$"}, &os.ProcAttr{Sys: namespaces(syscall.CLONE_NEWNS)})
	if err != nil {
		return false
	}
	_, _ = p.Wait()
	return true
})

// smallTmpfs is an empty directory on a tmpfs of that size, such as 1m, of its own.
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
