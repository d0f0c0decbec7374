package queue

import (
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
)

// deathCounters count how often the holder of an end of a Single queue died. See layout.Deaths.
type deathCounters struct {
	SenderDied   atomic.Uint64
	ReceiverDied atomic.Uint64
	_            [112]byte
}

// open opens the segment, and returns its layout. lay makes that of a new segment, like that of the
// one that is there.
func (b *base) open(name string, mode stream.Mode, kind string, o *shmem.Options,
	lay func() (*layout.Queue, error), like func(stored *format.Type) (*layout.Queue, error),
) (l *layout.Queue, err error) {
	typeOf := func(l *layout.Queue, err error) (*format.Type, error) {
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
	plan := stream.Plan{
		Op: "queue " + string(mode), Name: name, Mode: mode, Options: o, Kind: kind,
		New:  func() (*format.Type, error) { return typeOf(lay()) },
		Like: func(stored *format.Type) (*format.Type, error) { return typeOf(like(stored)) },
	}
	seg, m, t, err := plan.Open()
	if err != nil {
		return nil, err
	}
	b.seg, b.m, b.name = seg, m, name
	return like(t)
}
