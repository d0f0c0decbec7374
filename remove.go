package shmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// Remove unlinks the name, whatever the file is and whoever is attached: those go on undisturbed,
// and the owner's Close still drops the value, once. It is fs.ErrNotExist if there is nothing.
func Remove(dir, name string) error {
	o, err := (&Options{Dir: dir}).filled()
	if err == nil {
		err = checkName(name)
	}
	if err == nil && !sys.Supported {
		err = errors.ErrUnsupported
	}
	if err == nil {
		err = remove(&request{op: "remove", name: name, path: filepath.Join(o.Dir, name), opts: o, deadline: time.Now().Add(o.Timeout)})
	}
	return wrap("remove", name, err)
}

func remove(r *request) error {
	for {
		err := removeOnce(r)
		if err != errAgain {
			return err
		}
		if !time.Now().Before(r.deadline) {
			return ErrBusy
		}
	}
}

func removeOnce(r *request) error {
	file, err := sys.Open(r.path, true)
	shared := false
	if errors.Is(err, fs.ErrPermission) {
		// The directory decides who may unlink; a file that can be read lets us wait for its gate.
		file, err = sys.Open(r.path, false)
		shared = true
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w in %s", fs.ErrNotExist, r.opts.Dir)
	case err != nil:
		return r.explainFile(err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode.IsRegular() {
		return fmt.Errorf("%w: it is a %v", ErrNotRegular, st.Mode.Type())
	}
	if _, _, err := readHeader(file, st); err == nil {
		if err := enter(file, shared, r.deadline); err != nil {
			return err
		}
	}
	step.Reach(step.RemoveGate)
	if there, err := sys.Lstat(r.path); err != nil || !there.Same(st) {
		return errAgain
	}
	err = sys.Unlink(r.path)
	step.Reach(step.RemoveUnlink)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: it belongs to uid %d, this is uid %d; only that user, the owner of %s or root can remove it", err, st.UID, os.Geteuid(), r.opts.Dir)
	}
	return err
}

// Reclaim unlinks all garbage of this user in the directory: segments whose owner has died and that
// nobody is attached to, and files that somebody died over while making them. It yields what it took
// away, and what it could not with the error. What is busy or alive it leaves alone, and kept, damaged
// and foreign files too.
//
// Values are not dropped: that of a dead process may be half changed.
func Reclaim(dir string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o, err := (&Options{Dir: dir}).filled()
		if err == nil && !sys.Supported {
			err = errors.ErrUnsupported
		}
		if err != nil {
			yield(Info{}, wrap("reclaim", "", err))
			return
		}
		for info, err := range reclaim(o) {
			if !yield(info, wrap("reclaim", info.Name, err)) {
				return
			}
		}
	}
}

func reclaim(o *Options) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		all, err := names(o.Dir)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, name := range all {
			if !isTemp(name) && checkName(name) != nil {
				continue
			}
			info, taken, err := reclaimFile(filepath.Join(o.Dir, name), name)
			if (taken || err != nil) && !yield(info, err) {
				return
			}
		}
	}
}

// reclaimFile unlinks one file if it is garbage of this user.
func reclaimFile(path, name string) (info Info, taken bool, err error) {
	info = Info{Name: name, Path: path, State: Garbage}
	if st, err := sys.Lstat(path); err != nil || !st.Mode.IsRegular() || st.UID != uint32(os.Geteuid()) {
		return info, false, nil
	}
	file, err := sys.Open(path, true)
	if err != nil {
		if errors.Is(err, sys.ErrMFile) || errors.Is(err, sys.ErrNFile) {
			return info, false, err
		}
		return info, false, nil // gone, or none of ours
	}
	defer file.Close()
	step.Reach(step.ReclaimOpen)
	st, err := file.Stat()
	if err != nil || !st.Mode.IsRegular() {
		return info, false, err
	}
	h, _, err := readHeader(file, st)
	if err != nil && !isTemp(name) {
		return info, false, nil
	}
	if file.Lock(sys.GateByte, false) != nil {
		return info, false, nil // somebody is at it
	}
	step.Reach(step.ReclaimGate)
	if there, err := sys.Lstat(path); err != nil || !there.Same(st) {
		return info, false, nil
	}
	s := &Segment{name: name, path: path, file: file, stat: st, head: h}
	if !isTemp(name) {
		var b [8]byte
		if _, err := file.ReadAt(b[:], int64(h.HeaderOff())+format.OffOwner); err != nil {
			return info, false, err
		}
		owner := format.OwnerOf(binary.NativeEndian.Uint64(b[:]))
		attached, err := s.othersAttached()
		if err != nil || !owner.Valid() {
			return info, false, err
		}
		if owner.State != format.Dropped && (attached && !step.Flawed(step.ReclaimLive) || owner.State == format.Kept) {
			return info, false, nil
		}
		// Before it is gone, for those who want to know what it was.
		if looked, err := look(path, name); err == nil {
			info = looked
			info.State = Garbage
		}
	} else if held, err := file.Held(sys.PresenceByte, sys.SlotByte-sys.PresenceByte+format.MaxSlots); err != nil || held {
		return info, false, err
	} else {
		info.Size, info.File, info.InUse, info.UID = st.Size, st.Size, st.Blocks*512, int(st.UID)
	}
	err = sys.Unlink(path)
	step.Reach(step.ReclaimUnlink)
	if err != nil {
		return info, false, err
	}
	return info, true, nil
}
