package queue

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// An attachment is what all forms know of the segment.
type attachment struct {
	stream.Attachment
	sendErrors, recvErrors stream.Errors
	care                   care
	stamps                 stamps
}

// init prepares a. size names the options that bound the queue.
func (a *attachment) init(seg *shmem.Segment, m *mem.Mapping, size string) {
	a.Attachment.Init(seg, m)
	a.sendErrors.Init("queue send", seg.Name(), stream.Words{
		Full: "use Send, or create it with more " + size, End: "sender",
	})
	a.recvErrors.Init("queue receive", seg.Name(), stream.Words{
		Empty: "use Recv, or try later", End: "receiver",
	})
}

func (a *attachment) attached() *attachment { return a }

// error returns the error of an operation that is neither sending nor receiving.
func (a *attachment) error(op string, err error) error {
	return &shmem.Error{Op: "queue " + op, Name: a.Segment.Name(), Err: a.sendErrors.Cause(err)}
}
