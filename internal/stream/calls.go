package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// CallTable returns the table of a service. It needs no attachment, so package inspect reads a
// service by it.
func CallTable(m *mem.Mapping, l *layout.Calls) (*calls.Table, calls.Parts, error) {
	var p calls.Parts
	h, err := mem.At[calls.Header](m, 0)
	if err != nil {
		return nil, p, err
	}
	p.Header = h
	p.Servers, err = mem.SliceAt[calls.Server](m, l.ServersAt, l.Servers)
	if err != nil {
		return nil, p, err
	}
	p.Ready, err = mem.SliceAt[atomic.Uint64](m, l.ReadyAt, calls.ReadyWords(l.Calls))
	if err != nil {
		return nil, p, err
	}
	slots, err := mem.TableAt[calls.Slot](m, l.SlotsAt, l.Calls, l.Stride, l.Stride)
	if err != nil {
		return nil, p, err
	}
	if l.Calls > calls.MaxCalls {
		return nil, p, calls.ErrShape
	}
	p.Slots = make([]*calls.Slot, l.Calls)
	for i := range p.Slots {
		p.Slots[i] = slots.At(i)
	}
	t, err := calls.New(p)
	return t, p, err
}
