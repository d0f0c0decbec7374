package shmem_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "few-files", Run: fewFilesRole})
}

func TestNotRegular(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	open[point](t, dir, "target")
	for what, create := range map[string]func(string) error{
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"symbolic link": func(p string) error { return os.Symlink("target", p) },
		"named pipe":    func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := filepath.Join(dir, "x")
			check(t, create(p))
			within(t, func() {
				_, err := shmem.Open[point]("x", o)
				wantErr(t, err, shmem.ErrNotRegular, "open x", what)
				_, err = shmem.Create[point]("x", o)
				wantErr(t, err, shmem.ErrNotRegular)
				wantErr(t, err, fs.ErrExist, what)
				_, err = shmem.CreateSegment("x", 8, o)
				wantErr(t, err, fs.ErrExist)
				_, err = shmem.Stat(o.Dir, "x")
				wantErr(t, err, shmem.ErrNotRegular, "it is a "+what)
				_, err = inspect.Open(o.Dir, "x")
				wantErr(t, err, shmem.ErrNotRegular, "it is a "+what)
				_, err = shmem.Attach[point](p, &shmem.Options{Foreign: true, Dir: "/nowhere"})
				if what != "symbolic link" { // a foreign path may be one
					wantErr(t, err, shmem.ErrNotRegular)
				}
			})
			err := shmem.Remove(dir, "x")
			if what == "directory" {
				wantErr(t, err, shmem.ErrNotRegular, "remove x", what, "rmdir")
				check(t, os.Remove(p))
				return
			}
			check(t, err)
			wantNames(t, dir, "target")
		})
	}
}

// fewFilesRole opens boxes until its limit of open files is reached.
func fewFilesRole(c *shmemtest.Conn) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: 40}); err != nil {
		return err
	}
	o := &shmem.Options{Dir: c.Args()[0]}
	var boxes []*shmem.Box[point]
	for i := range 100 {
		b, err := shmem.Open[point](fmt.Sprint("b", i), o)
		if err != nil {
			_, err2 := shmem.Attach[point]("b0", o)
			c.Send("%d %v %v %v", len(boxes), errors.Is(err, syscall.EMFILE), errors.Is(err2, syscall.EMFILE), err)
			break
		}
		boxes = append(boxes, b)
	}
	for _, b := range boxes {
		if err := b.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestTooManyFiles(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := shmemtest.Start(t, "few-files", dir)
	line, err := c.Recv()
	check(t, err)
	var n int
	var is, is2 bool
	_, err = fmt.Sscan(line, &n, &is, &is2)
	if err != nil || n < 10 || !is || !is2 || !strings.Contains(line, "ulimit -n") {
		t.Errorf("%s", line)
	}
	check(t, c.Wait())
	wantNames(t, dir) // Close opens no file
}
