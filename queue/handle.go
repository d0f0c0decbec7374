package queue

import (
	"io"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/stream"
)

// A handle is what senders and receivers, of items and of bytes, have in common. In place of
// pinning the mapping a call enters the section, for which Close waits.
type handle struct {
	a       *attachment
	errors  *stream.Errors
	section fence.Section // of a call
	stop    stream.Stop   // ends a call that waits
	giveUp  func()
	once    sync.Once // of giveUp
}

// start makes h the handle of an end that enter makes, with what gives the end up.
func (h *handle) start(
	a *attachment, errors *stream.Errors, enter func(*stream.Stop) (func(), error),
) error {
	h.a, h.errors = a, errors
	h.stop.Init()
	if err := a.Enter(); err != nil {
		return errors.Of(err)
	}
	defer a.M.Unpin()
	var err error
	if h.giveUp, err = enter(&h.stop); err != nil {
		return err
	}
	if err := a.AtClose(h, h.leave); err != nil {
		h.leave()
		return errors.Of(err)
	}
	return nil
}

// leave gives the end up when the call in flight has ended. The mapping is pinned.
func (h *handle) leave() {
	h.section.Shut()
	h.once.Do(h.giveUp)
}

// close is Close of a sender or receiver.
func (h *handle) close() error {
	if !h.a.M.Pin() { // the queue is closed, and gives the end up itself
		h.section.Shut()
		return nil
	}
	defer h.a.M.Unpin()
	h.stop.Stop(h.a.M)
	h.leave()
	h.a.Forget(h)
	return nil
}

// closed returns the error of a call of a closed end.
func (h *handle) closed() error {
	if h.a.M.Closed() {
		return h.errors.Of(shmem.ErrClosed)
	}
	return h.errors.EndClosed()
}

// The compiler exports the bodies of the functions that a generic method calls, so that it can
// inline them in other packages, only if this package has an instance of the method.
var (
	_ io.Closer = (*Sender[int])(nil)
	_ io.Closer = (*Receiver[int])(nil)
	_ io.Closer = (*Queue[int])(nil)
	_ io.Closer = (*BytesSender)(nil)
	_ io.Closer = (*BytesReceiver)(nil)
)
