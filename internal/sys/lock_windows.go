package sys

import (
	"slices"
	"time"

	"golang.org/x/sys/windows"
)

// The locks of Windows belong to a handle and end with it. They differ from those of lock.go:
//
//   - A handle's own locks are in its way like those of others, and only what was locked by one
//     call can be unlocked. So each open file knows its bytes.
//   - No call asks for a lock. Held and Shared try to take the bytes and free them at once. A lock
//     that meets such a look tries again, see Lock.

// Bounds of the tries of a lock that meets a look.
const (
	lookTries = 64
	lookPause = 50 * time.Microsecond // from the spinTries-th try on
	spinTries = 8
)

const (
	lockShared    uint32 = 0
	lockExclusive uint32 = windows.LOCKFILE_EXCLUSIVE_LOCK
)

// lockNow locks n bytes from off, and does not wait.
func (fd FD) lockNow(off, n int64, kind uint32) error {
	err := windows.LockFileEx(windows.Handle(fd), kind|windows.LOCKFILE_FAIL_IMMEDIATELY, 0,
		uint32(n), uint32(n>>32), at(off))
	if err == windows.ERROR_IO_PENDING {
		return ErrHeld
	}
	return err
}

// unlockNow frees what one lockNow has locked.
func (fd FD) unlockNow(off, n int64) error {
	return windows.UnlockFileEx(windows.Handle(fd), 0, uint32(n), uint32(n>>32), at(off))
}

// look reports whether another handle has a lock that is in the way of one of the kind.
func (fd FD) look(off, n int64, kind uint32) (inTheWay bool, err error) {
	switch err := fd.lockNow(off, n, kind); err {
	case nil:
		return false, fd.unlockNow(off, n)
	case ErrHeld:
		return true, nil
	default:
		return false, err
	}
}

// pauseLook is the pause before another try.
func pauseLook(try int) {
	if try >= spinTries {
		time.Sleep(lookPause)
	}
}

// Lock tries again if a lock in its way may be a look. For an exclusive lock that is one that lets
// others share the byte. For a shared one it is any lock of the PresenceByte, which no process
// takes for itself alone.
func (fd FD) Lock(off int64, shared bool) error {
	f := fd.open()
	f.mu.Lock()
	defer f.mu.Unlock()
	if has, ok := f.bytes[off]; ok {
		if has == shared {
			return nil
		}
		if err := fd.unlockNow(off, 1); err != nil {
			return err
		}
		delete(f.bytes, off)
	}
	kind := lockExclusive
	if shared {
		kind = lockShared
	}
	for try := 0; ; try++ {
		err := fd.lockNow(off, 1, kind)
		if err == nil {
			f.has(off, shared)
			return nil
		}
		if err != ErrHeld || try == lookTries || shared && off != PresenceByte {
			return err
		}
		if !shared {
			if held, err := fd.look(off, 1, lockShared); held || err != nil {
				return cmpErr(err, ErrHeld)
			}
		}
		pauseLook(try)
	}
}

// cmpErr returns the first error that is not nil.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// has notes a byte. mu is held.
func (f *openFile) has(off int64, shared bool) {
	if f.bytes == nil {
		f.bytes = map[int64]bool{}
	}
	f.bytes[off] = shared
}

func (fd FD) LockWait(off int64) error {
	for {
		if err := fd.Lock(off, false); err != ErrHeld {
			return err
		}
		time.Sleep(lookPause)
	}
}

// Unlock frees the highest byte first, and the gate last: a process that has the gate finds the
// others free.
func (fd FD) Unlock(off, n int64) error {
	f := fd.open()
	f.mu.Lock()
	defer f.mu.Unlock()
	var first error
	for _, o := range slices.Backward(f.within(off, n)) {
		delete(f.bytes, o)
		first = cmpErr(first, fd.unlockNow(o, 1))
	}
	return first
}

// within returns the bytes that the file has of n from off, in their order. mu is held.
func (f *openFile) within(off, n int64) []int64 {
	var list []int64
	for o := range f.bytes {
		if o >= off && o-off < n {
			list = append(list, o)
		}
	}
	slices.Sort(list)
	return list
}

// unlockAll frees all bytes of a file that is being closed.
func (fd FD) unlockAll(f *openFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for o := range f.bytes {
		_ = fd.unlockNow(o, 1)
	}
	f.bytes = nil
}

// Held looks at the ranges between the file's own bytes. A shared lock finds what others have for
// themselves alone, and no other look.
func (fd FD) Held(off, n int64) (bool, error) {
	f := fd.open()
	f.mu.Lock()
	defer f.mu.Unlock()
	end := off + n
	for _, own := range append(f.within(off, n), end) {
		if own > off {
			if held, err := fd.look(off, own-off, lockShared); held || err != nil {
				return held, err
			}
		}
		off = own + 1
	}
	return false, nil
}

// Shared cannot tell other looks from locks: it looks several times.
func (fd FD) Shared(off int64) (bool, error) {
	f := fd.open()
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared, ok := f.bytes[off]; ok {
		if !shared {
			return false, nil
		}
		if err := fd.unlockNow(off, 1); err != nil {
			return false, err
		}
		delete(f.bytes, off)
		defer func() {
			if fd.lockNow(off, 1, lockShared) == nil {
				f.has(off, true)
			}
		}()
	}
	for try := range spinTries {
		if held, err := fd.look(off, 1, lockExclusive); !held || err != nil {
			return held, err
		}
		pauseLook(try)
	}
	return true, nil
}
