package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/queue"
)

// A loan is a lease on a message of either kind of queue.
type loan interface {
	Bytes() []byte
	Position() uint64
	Deliveries() int
	Done() error
	Back(delay time.Duration) error
}

// messages is either kind of queue.
type messages interface {
	take(ctx context.Context) (loan, error)
	send(ctx context.Context, b []byte) error
	item() *format.Type // nil: raw bytes
	most() int          // bytes of the largest message
	unlinked() <-chan struct{}
	close() error
}

// itemQueue is a queue of items.
type itemQueue struct{ q stream.Items }

func (x itemQueue) take(ctx context.Context) (loan, error) { return x.q.Take(ctx) }
func (x itemQueue) item() *format.Type                     { return x.q.Type() }
func (x itemQueue) most() int                              { return x.q.Type().Size }
func (x itemQueue) unlinked() <-chan struct{}              { return x.q.Unlinked() }
func (x itemQueue) close() error                           { return x.q.Close() }

func (x itemQueue) send(ctx context.Context, b []byte) error {
	return x.q.Send(ctx, func(p []byte) error { copy(p, b); return nil })
}

// byteQueue is a queue of messages of any length.
type byteQueue struct{ q *queue.Bytes }

// byteLoan is a lease of it.
type byteLoan struct{ *queue.BytesLease }

func (l byteLoan) Bytes() []byte { return l.Value() }

func (x byteQueue) take(ctx context.Context) (loan, error) {
	l, err := x.q.Take(ctx)
	if err != nil {
		return nil, err
	}
	return byteLoan{l}, nil
}

func (x byteQueue) send(ctx context.Context, b []byte) error { return x.q.Send(ctx, b) }
func (x byteQueue) item() *format.Type                       { return nil }
func (x byteQueue) most() int                                { return x.q.MaxLen() }
func (x byteQueue) unlinked() <-chan struct{}                { return x.q.Unlinked() }
func (x byteQueue) close() error                             { return x.q.Close() }

// streamKind returns the kind of a segment that is a queue or topic, "" of another one.
func streamKind(dir, name string) (string, error) {
	o, err := inspect.Open(dir, name)
	if err != nil {
		return "", err
	}
	defer o.Close()
	if t := o.Type(); t != nil {
		return t.Stream(), nil
	}
	return "", nil
}

// attachMessages attaches to a queue that goes out.
func attachMessages(dir, name string) (messages, error) {
	kind, err := streamKind(dir, name)
	if err != nil {
		return nil, err
	}
	switch kind {
	case layout.QueueName:
		q, err := stream.AttachItems(name, &shmem.Options{Dir: dir, Passive: true})
		if err != nil {
			return nil, err
		}
		return itemQueue{q}, nil
	case layout.BytesName:
		q, err := queue.AttachBytes(name, &queue.BytesOptions{Dir: dir, Passive: true})
		if err != nil {
			return nil, err
		}
		return byteQueue{q}, nil
	}
	return nil, fmt.Errorf("%w: %s is no queue", ErrRefused, name)
}

// mirrorBytes is how many bytes there are in the mirror of a queue or topic of bytes.
const mirrorBytes = 16 << 20

// mirrorMessages opens the mirror of a queue of items of that type; nil: of bytes.
func (b *Bridge) mirrorMessages(name string, item *format.Type) (messages, error) {
	if item == nil {
		q, err := queue.AttachBytes(name, &queue.BytesOptions{Dir: b.o.Dir})
		if errors.Is(err, fs.ErrNotExist) {
			q, err = queue.OpenBytes(name, &queue.BytesOptions{
				Dir: b.o.Dir, Lifetime: shmem.Kept, Capacity: b.o.Capacity, Bytes: mirrorBytes,
			})
		}
		return byteQueue{q}, refusedType(err)
	}
	q, err := stream.OpenItems(name, &shmem.Options{
		Dir: b.o.Dir, Append: true, Undo: shmem.UndoNever,
	}, item, b.o.Capacity)
	return itemQueue{q}, refusedType(err)
}

// refusedType makes ErrRefused of a mirror that is of another type.
func refusedType(err error) error {
	if errors.Is(err, shmem.ErrMismatch) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
