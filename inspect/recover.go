package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/value"
	"github.com/shmembox/shmem/psync"
)

// Recover does for the segment of that name what the next process would have to do after a death.
// With the path "" it takes the box's lock once, which undoes the change of a writer that died.
// Else the path leads to a psync.Mutex or psync.RWMutex whose holder died: Recover declares that
// what it guards is in order. Nothing checks that; cat shows the value.
//
// Recover attaches like any other process, but does not take over the cleanup of a dead owner's
// segment. A lock that no process died with stays as it is. While another process holds it Recover
// waits; the error is that of ctx then. Other errors are those of Set.
func Recover(ctx context.Context, name string, opts *shmem.Options, path string) error {
	err := recoverLock(ctx, name, opts, path)
	var e *shmem.Error
	if errors.As(err, &e) {
		return err
	}
	return segment.Shmem.Error("inspect recover", name, err)
}

func recoverLock(ctx context.Context, name string, opts *shmem.Options, path string) error {
	dir := ""
	if opts != nil {
		dir = opts.Dir
	}
	t, err := typeToRecover(dir, name)
	if err != nil {
		return err
	}
	lock, off, err := typeAt(t, path)
	if err != nil {
		return err
	}
	a, err := attachStored(name, opts, t)
	if err != nil {
		return err
	}
	if path == "" {
		v := value.OfStored(a, t)
		err = v.Update(ctx, func() error { return nil })
	} else {
		err = recoverField(ctx, a.Mapping(), lock, off)
	}
	return errors.Join(err, a.Detach(false))
}

// typeToRecover returns the type of the value, if it can be recovered.
func typeToRecover(dir, name string) (*format.Type, error) {
	o, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return o.t, o.settable()
}

// A locker is a lock of psync that a death leaves locked.
type locker interface {
	Lock(ctx context.Context) error
	Unlock() error
	Recover(ctx context.Context, repair func() error) error
}

// recoverField recovers the lock of type t at an offset in the payload.
func recoverField(ctx context.Context, m *mem.Mapping, t *format.Type, off int) error {
	var l locker
	var err error
	switch {
	case t.Kind == format.Sync && t.Name == "psync.Mutex" && t.Size == mem.SizeOf[psync.Mutex]():
		l, err = mem.At[psync.Mutex](m, off)
	case t.Kind == format.Sync && t.Name == "psync.RWMutex" &&
		t.Size == mem.SizeOf[psync.RWMutex]():
		l, err = mem.At[psync.RWMutex](m, off)
	default:
		return fmt.Errorf("%w: it is a %s; a psync.Mutex or psync.RWMutex is needed",
			shmem.ErrMismatch, typeOf(t))
	}
	if err != nil {
		return fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
	}
	err = l.Lock(ctx)
	if errors.Is(err, psync.ErrOwnerDied) {
		return l.Recover(ctx, func() error { return nil })
	}
	if err != nil {
		return err
	}
	return l.Unlock()
}
