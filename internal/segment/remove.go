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

// Remove unlinks a name in the directory dir, whatever the file is and however many are attached:
//
//  1. open the file
//  2. take the gate, if the file has one (RemoveGate)
//  3. unlink the name if it still leads to the file (RemoveUnlink), or start again
//  4. tell those who are attached (RemoveTold); see told.go
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
	file, err := sys.Open(o.path, true)
	readOnly := false
	if errors.Is(err, fs.ErrPermission) {
		// The mode of the directory decides about unlinking.
		file, err = sys.Open(o.path, false)
		readOnly = true
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nothing(o.cfg.Dir)
	case err != nil:
		return o.explainFile(err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode.IsRegular() {
		return fmt.Errorf("%w: it is a %v", errs.NotRegular, st.Mode.Type())
	}
	// A file that can only be read has no gate that this process could take.
	var c *control
	if h, _, err := readHeader(file, st); err == nil && !readOnly {
		c = &control{file: file, stat: st, head: h}
		if err := c.enter(o.deadline); err != nil {
			return err
		}
		defer c.leave()
	}
	step.Reach(step.RemoveGate)
	if there, err := sys.Lstat(o.path); err != nil || !there.Same(st) {
		return errRetry
	}
	err = sys.Unlink(o.path)
	step.Reach(step.RemoveUnlink)
	if err == nil && c != nil {
		c.tell()
		step.Reach(step.RemoveTold)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: it belongs to uid %d, this is uid %d; "+
			"only that user, the owner of %s or root can remove it", err, st.UID, os.Geteuid(),
			o.cfg.Dir)
	}
	return err
}
