package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/stream"
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
	return o.t, o.settable("recovered")
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

// EndLeases ends the leases that the attachment in a slot has on messages of a queue: of RecvFunc,
// and of Take. The messages are redelivered at once, and the attachment gets queue.ErrLeaseLost
// when it is done with them. It is for a process that is stopped, or does not go on; it is not
// asked. EndLeases returns how many there were. A RecvBatch that is copying keeps its messages.
//
// EndLeases attaches like any other process, as Recover. A segment that is no queue, or a Single
// one, which has no leases, is shmem.ErrMismatch.
func EndLeases(name string, opts *shmem.Options, slot int) (ended int, err error) {
	ended, err = endLeases(name, opts, slot)
	var e *shmem.Error
	if err == nil || errors.As(err, &e) {
		return ended, err
	}
	return 0, segment.Shmem.Error("inspect end leases", name, err)
}

func endLeases(name string, opts *shmem.Options, slot int) (ended int, err error) {
	dir := ""
	if opts != nil {
		dir = opts.Dir
	}
	o, err := open(dir, name)
	if err != nil {
		return 0, err
	}
	t, state := o.t, o.info.State
	o.Close()
	if state == shmem.Garbage || state == shmem.Foreign {
		return 0, fmt.Errorf("%w: no process is attached to it", shmem.ErrMismatch)
	}
	l, err := layout.QueueOf(t)
	if err != nil || l.Single {
		return 0, fmt.Errorf("%w: it is no queue with leases", shmem.ErrMismatch)
	}
	a, err := attachStored(name, opts, t)
	if err != nil {
		return 0, err
	}
	m := a.Mapping()
	if f := m.Guard(func() { ended, err = stream.EndLeases(m, l, slot) }); f != nil {
		err = a.Fault(f)
	}
	return ended, errors.Join(err, a.Detach(false))
}
