//go:build linux

package lifecycle_test

import (
	"errors"
	"io/fs"
	"log"
	"os"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "ends", Run: endsRole}) }

// ends are ways to end a process that run no deferred Close.
var ends = map[string]func(){
	"os.Exit":   func() { os.Exit(3) },
	"log.Fatal": func() { log.Fatal("the end") },
	"panic in another goroutine": func() {
		go panic("the end")
		select {}
	},
	"SIGTERM": func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	},
}

func endsRole(c *shmemtest.Conn) error {
	box, err := shmem.Create[uint64]("box", &shmem.Options{Dir: c.Args()[1]})
	if err != nil {
		return err
	}
	defer box.Close()
	ends[c.Args()[0]]()
	return nil
}

// TestEndsLikeKill ends the owner in ways that run no deferred call. What it leaves must be
// garbage, which the next Open replaces.
func TestEndsLikeKill(t *testing.T) {
	for name := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := &shmem.Options{Dir: shmemtest.Dir(t)}
			if err := shmemtest.Start(t, "ends", name, opts.Dir).Wait(); err == nil {
				t.Error("the process has ended without error")
			}
			if info, err := shmem.Stat(opts.Dir, "box"); err != nil || info.State != shmem.Garbage {
				t.Errorf("%v, %v: want garbage", info.State, err)
			}
			if _, err := shmem.Attach[uint64]("box", opts); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("attached to garbage: %v", err)
			}
			box, err := shmem.Open[uint64]("box", opts)
			check(t, err)
			if !box.Owned() {
				t.Error("the next Open does not own the box")
			}
			check(t, box.Close())
		})
	}
}
