package segment

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// Own makes this attachment the owner: OwnGate, OwnWord, OwnRelease, OwnCounted.
func (a *Attachment) Own() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.Closed():
		return errs.Closed
	case a.head == nil:
		return fmt.Errorf("%w: a foreign segment has no owner", errs.Foreign)
	case a.ReadOnly():
		return fmt.Errorf("%w: an owner must be able to write", errs.ReadOnly)
	case a.cfg.Passive:
		return badOption("a passive attachment cannot own a segment; " +
			"attach without Options.Passive")
	}
	if err := a.mayUnlink(); err != nil {
		return err
	}
	if err := a.setSelf(); err != nil {
		return err
	}
	a.countAt(step.OwnCounted)
	return nil
}

// setSelf makes this attachment the owner, at the gate.
func (a *Attachment) setSelf() error {
	if err := a.enter(a.deadline()); err != nil {
		return err
	}
	step.Reach(step.OwnGate)
	defer func() {
		a.leave()
		step.Reach(step.OwnRelease)
	}()
	o, err := a.owner()
	if err != nil {
		return err
	}
	if o.State == format.Dropped {
		return errs.Dropped
	}
	err = a.setOwner(format.Owner{State: format.Owned, ID: a.id})
	step.Reach(step.OwnWord)
	return err
}

// Owned reports whether this attachment owns the segment. It is false after Detach.
func (a *Attachment) Owned() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() || a.id == format.NoID {
		return false
	}
	o, err := a.owner()
	return err == nil && o.State == format.Owned && o.ID == a.id
}

// mayUnlink returns fs.ErrPermission if this process could not unlink the name, as an owner must.
func (a *Attachment) mayUnlink() error {
	if a.path == "" {
		return nil
	}
	dir := filepath.Dir(a.path)
	if err := sys.MayUnlink(dir, a.file); err != nil {
		return fmt.Errorf("%w: uid %d may not unlink files of uid %d in %s, as an owner must",
			err, os.Geteuid(), a.stat.UID, dir)
	}
	return nil
}
