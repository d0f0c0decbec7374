package lifecycle_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
)

// These need a file system of their own, and another user.
func init() {
	reachable[step.CreateNoSpace], reachable[step.AttachReader] = canMount, nil
	scenarios = append(scenarios, []scenario{
		{name: "no space", once: true, setup: func(r *killRun) { r.dir = smallTmpfs(r, "48k") }, victim: func(v *victim) error {
			v.armed = true
			s, err := shmem.OpenSegment("box", 1<<20, &v.opts)
			if !errors.Is(err, shmem.ErrNoSpace) {
				return fmt.Errorf("opened %v: %v", s, err)
			}
			return nil
		}},
		{name: "attach read-only by permission", setup: forReaders, victim: func(v *victim) error {
			if os.Getuid() == 0 {
				if err := syscall.Setuid(noUser); err != nil {
					return err
				}
			}
			v.armed, v.opts.ReadOnly, v.opts.AnyUser = true, true, true
			return closed(v.attach())
		}},
	}...)
}

// noUser is the uid of a user that owns no file.
const noUser = 65534

// forReaders creates a segment that the victim may only read.
func forReaders(r *killRun) {
	r.join(shmem.Create[coin]("box", &shmem.Options{Dir: r.dir, Mode: 0o644}))
	check(r, os.Chmod(r.dir, 0o755))
	if os.Getuid() != 0 { // the victim is the same user
		path := filepath.Join(r.dir, "box")
		check(r, os.Chmod(path, 0o400))
		r.heal = func() { check(r, os.Chmod(path, 0o600)) }
	}
}
