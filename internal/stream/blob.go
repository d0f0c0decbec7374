package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/pool"
)

// PoolIn lays a pool of buffers over a mapping. lengths are those of the buffers that are taken. It
// needs no attachment, so package inspect reads a pool by it.
func PoolIn(m *mem.Mapping, l *layout.Pool) (
	b *pool.Pool, p pool.Parts, lengths []atomic.Uint64, err error,
) {
	if p.Header, err = mem.At[pool.Header](m, 0); err != nil {
		return nil, p, nil, err
	}
	words := func(off, n int) (list []atomic.Uint64) {
		if err == nil {
			list, err = mem.SliceAt[atomic.Uint64](m, off, n)
		}
		return list
	}
	p.States = words(l.StatesAt, l.Buffers)
	p.Shares = words(l.SharesAt, l.Buffers*l.Shares)
	lengths = words(l.LengthsAt, l.Buffers)
	for _, c := range l.Classes {
		if err == nil {
			_, err = mem.SliceAt[byte](m, c.At, c.Size*c.Count)
		}
	}
	if err != nil {
		return nil, p, nil, err
	}
	b, err = pool.New(p)
	return b, p, lengths, err
}
