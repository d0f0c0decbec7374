package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/pool"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/sys"
)

// PoolStats are the counters of a blob.Pool, and who holds its buffers.
type PoolStats struct {
	Classes  []PoolClass
	Shares   int          // that a buffer can have
	Holders  []PoolHolder // those with the most buffers first
	InFlight int          // shares that were handed over and not resolved yet
	Late     int          // of these, the ones whose time has passed
	Dead     uint64       // shares of dead processes that were removed
	Expired  uint64       // shares in flight that were removed when their time had passed
}

// A PoolClass is the buffers of one size.
type PoolClass struct {
	Size  int // in bytes
	Count int
	Used  int    // buffers that are taken
	Taken uint64 // how many times one was taken
}

// A PoolHolder is an attachment that holds buffers. A dead one holds them until another process
// finds no free buffer.
type PoolHolder struct {
	Holder
	Buffers int
	Bytes   int // the size of these buffers
}

// PoolStats returns the counters of a blob.Pool, and nil if the segment is none. It disturbs no
// process.
func (o *Observer) PoolStats() (st *PoolStats, err error) {
	if err := o.usable(); err != nil && err != shmem.ErrClosed || !layout.IsPool(o.t) {
		return nil, nil
	}
	err = o.guarded("inspect pool", func() error {
		l, err := layout.PoolOf(o.t)
		if err != nil {
			return fmt.Errorf("%w: %w", shmem.ErrMismatch, err)
		}
		p, parts, _, err := stream.PoolIn(o.m, l)
		if err != nil {
			return fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err)
		}
		st = &PoolStats{
			Shares: l.Shares,
			Dead:   parts.Header.Dead.Load(), Expired: parts.Header.Expired.Load(),
		}
		o.poolUse(p, l, st)
		return nil
	})
	return st, err
}

// poolUse reads the states and shares of all buffers. The mapping is pinned.
func (o *Observer) poolUse(p *pool.Pool, l *layout.Pool, st *PoolStats) {
	now := uint32(sys.Uptime(time.Now()) / time.Millisecond)
	holders := map[uint32]*PoolHolder{}
	for i := range l.Classes {
		c := &l.Classes[i]
		class := PoolClass{Size: c.Size, Count: c.Count}
		for b := c.First; b < c.First+c.Count; b++ {
			s := p.Load(b)
			class.Taken += s.Gen()
			if s.Taken() {
				class.Used++
			}
			o.poolShares(p, b, c.Size, now, st, holders)
		}
		st.Classes = append(st.Classes, class)
	}
	for _, h := range holders {
		st.Holders = append(st.Holders, *h)
	}
	slices.SortFunc(st.Holders, func(a, b PoolHolder) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Slot, b.Slot))
	})
}

// poolShares reads the shares of a buffer.
func (o *Observer) poolShares(
	p *pool.Pool, buffer, size int, now uint32, st *PoolStats, holders map[uint32]*PoolHolder,
) {
	var seen [pool.MaxShares]uint32 // holders; one may have two shares
	for k := range p.Each() {
		s := p.Share(buffer, k)
		switch {
		case s == 0 || !s.Flies() && slices.Contains(seen[:k], s.ID()):
			continue
		case s.Flies():
			st.InFlight++
			if s.Expired(now) {
				st.Late++
			}
			continue
		}
		seen[k] = s.ID()
		h := holders[s.ID()]
		if h == nil {
			h = &PoolHolder{Holder: o.holder(format.ID(s.ID()), "buffer")}
			holders[s.ID()] = h
		}
		h.Buffers++
		h.Bytes += size
	}
}
