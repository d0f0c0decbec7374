package topic

import (
	"context"
	"io"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// A Publisher is a publishing end of a topic for one goroutine at a time. It does what the methods
// of the topic do, and is faster. It ends with the topic. A topic may have any number of them.
type Publisher[T any] struct {
	t    *Topic[T]
	core *stream.Publisher
}

// Publisher makes a publishing end. The errors are ErrReadOnly and ErrClosed.
func (t *Topic[T]) Publisher() (*Publisher[T], error) {
	core, err := t.core.Publisher()
	if err != nil {
		return nil, err
	}
	return &Publisher[T]{t, core}, nil
}

// Publish publishes a copy of v. See Topic.Publish.
func (p *Publisher[T]) Publish(ctx context.Context, v T) error {
	return p.core.Publish(ctx, mem.Bytes(&v))
}

// TryPublish is Publish that returns ErrFull where Publish would block.
func (p *Publisher[T]) TryPublish(v T) error {
	return p.core.Publish(stream.Try{}, mem.Bytes(&v))
}

// PublishFunc publishes a message that f writes in place. See Topic.PublishFunc. f must not use the
// Publisher.
func (p *Publisher[T]) PublishFunc(ctx context.Context, f func(*T) error) error {
	return p.core.PublishFunc(ctx, p.t.writer(f))
}

// PublishBatch publishes all of vs in order. See Topic.PublishBatch.
func (p *Publisher[T]) PublishBatch(ctx context.Context, vs []T) (int, error) {
	return p.t.publishBatch(ctx, p.core, vs)
}

// Close ends the publisher. Any goroutine may call it. A call in flight that waits returns
// ErrClosed, and so do later calls. A second Close returns nil.
func (p *Publisher[T]) Close() error {
	p.core.Close()
	return nil
}

// PublishBatch publishes all of vs in order, and wakes subscribers once. It blocks where Publish
// would, and looks at ctx then. It returns how many are published: all of them, or an error, one of
// those of Publish. Messages of other publishers may come in between. If vs is empty it publishes
// nothing and does not wait.
func (t *Topic[T]) PublishBatch(ctx context.Context, vs []T) (int, error) {
	return t.publishBatch(ctx, t.core.Own, vs)
}

func (t *Topic[T]) publishBatch(ctx context.Context, p *stream.Publisher, vs []T) (int, error) {
	return p.PublishBatch(ctx, len(vs), nil, func(pos uint64, _, i int) {
		t.core.Store(pos, mem.Bytes(&vs[i]))
	})
}

// RecvBatch receives up to len(vs) messages in order, and blocks until there is one. It returns how
// many they are: at least one, or an error, one of those of Recv. With Newest it is one. If vs is
// empty it receives nothing and does not wait. Elements behind those that are received may have
// changed.
func (s *Subscription[T]) RecvBatch(ctx context.Context, vs []T) (int, error) {
	return s.core.RecvBatch(ctx, len(vs), func(pos uint64, i int) {
		s.t.core.Load(pos, mem.Bytes(&vs[i]))
	})
}

// The compiler exports the bodies of the functions that a generic method calls only if this package
// has an instance of the method; see package queue.
var (
	_ io.Closer = (*Publisher[int])(nil)
	_ io.Closer = (*Subscription[int])(nil)
)
