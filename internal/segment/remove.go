package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// locateIn returns the path of a name in a directory, "" being the default one.
func locateIn(dir, name string) (path string, cfg *Config, err error) {
	if cfg, err = (Config{Dir: dir}).withDefaults(); err != nil {
		return "", nil, err
	}
	if err := checkName(name, "the directory is an argument of its own"); err != nil {
		return "", nil, err
	}
	return filepath.Join(cfg.Dir, name), cfg, supported()
}

// removeGateTime is how long Remove tries for the gate. Without it there is another way.
const removeGateTime = time.Second

// Remove unlinks a name in the directory dir, whatever the file is and however many are attached.
// A directory it refuses. It never unlinks a file that it has not looked at:
//
//  1. look at the file, and keep it open, so that no other file gets its inode
//  2. if it can be written, take its gate (RemoveGate). If the name still leads to the file, unlink
//     it (RemoveUnlink); else start again
//  3. where the gate is not to be had (RemoveGate), give the file a temporary name (RemoveRenamed),
//     and look at it once more. The same file: unlink that name (RemoveUnlink). Another one, which
//     has taken its place since step 1: give it back its name, and start again
//  4. tell the attachments, without the gate (RemoveTold); see told.go
//
// The gate keeps out all processes of this library that could take the name away. Without it one
// that is stopped between its own look and its unlink, with the gate, may unlink the next segment
// of the name. A process that dies after RemoveRenamed leaves a temporary name, which Reclaim
// removes.
func Remove(dir, name string) error {
	path, cfg, err := locateIn(dir, name)
	if err != nil {
		return err
	}
	o := &opening{path: path, cfg: cfg, deadline: time.Now().Add(cfg.Timeout)}
	for {
		err := o.removeOnce()
		if err != errRetry {
			return err
		}
		if !time.Now().Before(o.deadline) {
			return fmt.Errorf("%w: they create and remove the name", errs.Contended)
		}
	}
}

func (o *opening) removeOnce() error {
	st, seen, err := look(o.path)
	if err != nil {
		return o.notRemoved(err, st)
	}
	if seen != sys.NoFD {
		defer seen.Close()
	}
	if st.Mode.IsDir() {
		return fmt.Errorf("%w: it is a directory; remove it with rmdir", errs.NotRegular)
	}
	c, err := o.openSeen(st)
	if err != nil {
		return err
	}
	if c != nil {
		defer c.file.Close()
	}
	if err := o.unlinkSeen(c, st); err != nil {
		return err
	}
	if c != nil && c.head != nil {
		c.tell()
		step.Reach(step.RemoveTold)
	}
	return nil
}

// look does step 1. It follows no link, and needs no permission on the file. seen may be sys.NoFD.
func look(path string) (st sys.Stat, seen sys.FD, err error) {
	if seen, err = sys.OpenPath(path); err != nil {
		// Without a free descriptor, for example, there is still lstat.
		st, err = sys.Lstat(path)
		return st, sys.NoFD, err
	}
	if st, err = seen.Stat(); err != nil {
		_ = seen.Close()
	}
	return st, seen, err
}

// openSeen opens the file of step 1 for writing; nil if that is not possible. The header is nil if
// it cannot be read.
func (o *opening) openSeen(st sys.Stat) (*control, error) {
	if !st.Mode.IsRegular() {
		return nil, nil
	}
	file, err := sys.Open(o.path, true)
	if err != nil {
		return nil, nil
	}
	c := &control{file: file}
	if c.stat, err = file.Stat(); err == nil && !c.stat.Same(st) {
		err = errRetry
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if h, _, err := readHeader(file, c.stat); err == nil {
		c.head = h
	}
	return c, nil
}

// unlinkSeen does steps 2 and 3. c is nil if the file cannot be written.
func (o *opening) unlinkSeen(c *control, st sys.Stat) error {
	if c != nil {
		if done, err := o.unlinkAtGate(c); done {
			return err
		}
	}
	step.Reach(step.RemoveGate)
	return o.unlinkMoved(st)
}

// unlinkAtGate does step 2. done is false if the gate was not had.
func (o *opening) unlinkAtGate(c *control) (done bool, err error) {
	deadline := time.Now().Add(removeGateTime)
	if o.deadline.Before(deadline) {
		deadline = o.deadline
	}
	if c.enter(deadline) != nil {
		return false, nil
	}
	defer c.leave()
	step.Reach(step.RemoveGate)
	there, err := sys.Lstat(o.path)
	switch {
	case err != nil && !gone(err):
		return true, err
	case err != nil || !there.Same(c.stat):
		return true, errRetry
	}
	err = sys.Unlink(o.path)
	step.Reach(step.RemoveUnlink)
	return true, o.notRemoved(err, c.stat)
}

// unlinkMoved does step 3.
func (o *opening) unlinkMoved(st sys.Stat) error {
	temp := filepath.Join(o.cfg.Dir, tempPrefix+hexString(randomID()))
	if err := sys.Rename(o.path, temp); err != nil {
		if gone(err) {
			return errRetry
		}
		return o.notRemoved(err, st)
	}
	step.Reach(step.RemoveRenamed)
	there, err := sys.Lstat(temp)
	switch {
	case err != nil && gone(err): // by a Reclaim
		return nil
	case err == nil && there.Same(st):
		err = sys.Unlink(temp)
		step.Reach(step.RemoveUnlink)
		return o.notRemoved(err, st)
	}
	if err := sys.RenameExclusive(temp, o.path); err == nil {
		return errRetry
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s is named %s now; rename it", err, o.path, temp)
	}
	// The name is taken again, so the file cannot get it back: it is removed as by the call itself.
	_ = sys.Unlink(temp)
	return fmt.Errorf("%w: they create and remove the name", errs.Contended)
}

// notRemoved adds to an error of removing what to do about it. A nil err stays nil.
func (o *opening) notRemoved(err error, st sys.Stat) error {
	switch {
	case err == nil:
		return nil
	case gone(err):
		return nothing(o.cfg.Dir)
	case errors.Is(err, sys.ErrROFS):
		return readOnlyMount(o.cfg.Dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: it belongs to uid %d, this is uid %d; "+
			"only that user, the owner of %s or root can remove it", err, st.UID, os.Geteuid(),
			o.cfg.Dir)
	}
	return err
}
