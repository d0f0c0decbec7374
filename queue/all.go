package queue

import (
	"context"
	"io"
	"iter"

	"github.com/shmembox/shmem/internal/stream"
)

// all yields what recv returns, until the stream ends or there is an error. It looks at ctx before
// every message.
func all[T any](
	ctx context.Context, errors *stream.Errors, recv func(context.Context) (T, error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			var v T
			err := stream.Context(ctx)
			if err != nil {
				err = errors.Of(err)
			} else {
				v, err = recv(ctx)
			}
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}
