//go:build linux

package lifecycle_test

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "exec-self", Run: execSelfRole}) }

// execSelfRole creates the box "p", leaves it in some way, executes its own program, and tells what
// that finds.
func execSelfRole(c *shmemtest.Conn) error {
	dir, how := c.Args()[0], c.Args()[1]
	o := &shmem.Options{Dir: dir}
	if os.Getenv("EXECUTED") != "" {
		b, err := shmem.Attach[point]("p", o)
		if err != nil {
			c.Send("attach: %v", err)
			return nil
		}
		if how == "die" {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		err = b.Own()
		c.Send("X %d, owned %v, %v", b.Value().X, b.Owned(), err)
		return b.Close()
	}
	b, err := shmem.Create[point]("p", o)
	if err != nil {
		return err
	}
	b.Value().X = 7
	if how != "neither" {
		if err := b.Leak(); err != nil {
			return err
		}
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "EXECUTED=1"))
}

// TestExecOfOneself replaces the program of the owner. With Leak before and Own after it the value
// stays, also if the new program dies in between. Without Leak the segment is garbage.
func TestExecOfOneself(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := shmemtest.Start(t, "exec-self", dir, "leak")
	c.Expect(t, "X 7, owned true, <nil>")
	check(t, c.Wait())
	wantNames(t, dir)

	_ = shmemtest.Start(t, "exec-self", dir, "die").Wait()
	info, err := shmem.Stat(dir, "p")
	if err != nil || info.State != shmem.Idle || info.Lifetime != shmem.Kept {
		t.Errorf("after a death between Leak and Own: %v, %v (%v)", info.State, info.Lifetime, err)
	}
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: dir})
	check(t, err)
	if b.Value().X != 7 {
		t.Errorf("X is %d", b.Value().X)
	}
	check(t, b.Own())
	check(t, b.Close())
	wantNames(t, dir)

	c = shmemtest.Start(t, "exec-self", dir, "neither")
	c.Expect(t, fmt.Sprintf("attach: shmem: attach p: %v", fs.ErrNotExist))
	check(t, c.Wait())
	reclaim(t, dir)
}
