package segment

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// Reclaim unlinks the garbage of this user in the directory dir, "" being the default one. It
// yields what it has unlinked, and what it could not unlink with the error. An error of the
// directory itself comes without a name.
func Reclaim(dir string) iter.Seq2[Look, error] {
	return func(yield func(Look, error) bool) {
		cfg, err := Config{Dir: dir}.withDefaults()
		if err == nil {
			err = supported()
		}
		if err != nil {
			yield(Look{}, err)
			return
		}
		reclaim(cfg.Dir)(yield)
	}
}

// ReclaimFile unlinks one file of the directory dir if Reclaim would, and reports whether it did.
func ReclaimFile(dir, name string) (l Look, unlinked bool, err error) {
	cfg, err := Config{Dir: dir}.withDefaults()
	if err != nil || !IsTemp(name) && checkName(name, "") != nil {
		return Look{Name: name}, false, err
	}
	return reclaimFile(filepath.Join(cfg.Dir, name), name)
}

// reclaimUntil unlinks the garbage of this user in dir, until the deadline at most: a directory may
// have any number of files. It reads their names part by part, and calls note for each file that it
// unlinks.
func reclaimUntil(dir string, deadline time.Time, note func(name string, h *format.Header)) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(256)
		for _, name := range some {
			if !time.Now().Before(deadline) {
				return
			}
			if IsTemp(name) || checkName(name, "") == nil {
				l, unlinked, _ := reclaimFile(filepath.Join(dir, name), name)
				if unlinked {
					note(name, l.Header)
				}
			}
		}
		if err != nil || len(some) == 0 {
			return
		}
	}
}

func reclaim(dir string) iter.Seq2[Look, error] {
	return func(yield func(Look, error) bool) {
		all, err := names(dir)
		if err != nil {
			yield(Look{}, err)
			return
		}
		for _, name := range all {
			if !IsTemp(name) && checkName(name, "") != nil {
				continue
			}
			l, unlinked, err := reclaimFile(filepath.Join(dir, name), name)
			if (unlinked || err != nil) && !yield(l, err) {
				return
			}
		}
	}
}

// noteReclaimed notes that garbage was unlinked. h is nil if it had no header.
func (o *opening) noteReclaimed(name string, h *format.Header) {
	n := notes.Note{Kind: notes.Reclaimed, What: "segment", Segment: name, Count: 1}
	if h != nil && h.CreatorNS == pidNamespace() {
		n.PID = int(h.CreatorPID)
	}
	o.cfg.notes.Add(n)
}

// reclaimFile unlinks one file if it is garbage of this user:
//
//  1. open it (ReclaimOpen); a segment must have a valid header
//  2. try its gate once (ReclaimGate): a process that holds the gate is using the file
//  3. unlink it if it has the name and is garbage (ReclaimUnlink)
func reclaimFile(path, name string) (l Look, unlinked bool, err error) {
	l = Look{Name: name, Path: path, State: Garbage}
	c, err := openOwn(path)
	if c == nil {
		if err == nil && IsTemp(name) {
			unlinked, err = reclaimMoved(path)
		}
		return l, unlinked, err
	}
	defer c.file.Close()
	step.Reach(step.ReclaimOpen)
	c.stat, err = c.file.Stat()
	if err != nil || !c.stat.Mode.IsRegular() || !isMine(c.file, c.stat) {
		return l, false, err
	}
	if c.head, _, err = readHeader(c.file, c.stat); err != nil && !IsTemp(name) {
		return l, false, nil
	}
	if c.head != nil {
		c.scanLong()
	}
	if err := c.file.Lock(sys.GateByte, false); err != nil {
		if err == sys.ErrHeld {
			err = nil
		}
		return l, false, explainLocks(err)
	}
	step.Reach(step.ReclaimGate)
	there, err := sys.Lstat(path)
	switch {
	case err != nil && !gone(err):
		return l, false, err
	case err != nil || !there.Same(c.stat):
		return l, false, nil
	}
	var garbage bool
	if IsTemp(name) {
		garbage, err = c.abandoned()
		l.Size, l.File, l.InUse = c.stat.Size, c.stat.Size, c.stat.Blocks*512
		l.UID = int(c.stat.UID)
	} else if garbage, err = c.lost(); garbage {
		if seen, err := lookAt(path, name); err == nil { // what it was, while it can be seen
			l = seen
			l.State = Garbage
		}
	}
	if !garbage || err != nil {
		return l, false, err
	}
	err = sys.Unlink(path)
	step.Reach(step.ReclaimUnlink)
	return l, err == nil, err
}

// reclaimMoved unlinks a FIFO, a socket or a link of this user that has a temporary name: a Remove
// gave it that name and died. It reports false for anything else.
func reclaimMoved(path string) (unlinked bool, err error) {
	st, err := sys.Lstat(path)
	me := uint32(os.Geteuid())
	if err != nil || st.Mode.IsRegular() || st.Mode.IsDir() || st.UID != me ||
		me == sys.OverflowUID() {
		return false, nil
	}
	err = sys.Unlink(path)
	return err == nil, err
}

// openOwn opens a regular file of this user. It returns nil for anything else.
func openOwn(path string) (*control, error) {
	st, err := sys.Lstat(path)
	if err != nil && !gone(err) {
		return nil, err
	}
	if err != nil || !st.Mode.IsRegular() || st.UID != uint32(os.Geteuid()) {
		return nil, nil
	}
	file, err := sys.Open(path, true)
	if errors.Is(err, sys.ErrMFile) || errors.Is(err, sys.ErrNFile) {
		return nil, err
	}
	if err != nil {
		return nil, nil // gone, or without permission
	}
	return &control{file: file}, nil
}

// lost reports whether a segment is garbage. The gate is held.
func (c *control) lost() (bool, error) {
	owner, err := c.owner()
	if errors.Is(err, errs.Corrupt) {
		return false, nil // damaged: only Remove touches it
	}
	if err != nil {
		return false, err
	}
	garbage, err := c.garbageAtGate(owner)
	if err == errScan { // an attachment has come and gone meanwhile
		return false, nil
	}
	return garbage, err
}

// abandoned reports whether the process that was making a file with a temporary name has died. The
// gate is held.
func (c *control) abandoned() (bool, error) {
	held, err := c.file.Held(sys.SlotByte, format.MaxSlots)
	return !held && err == nil, err
}
