package queue

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// A waiterEnd is how one end of a Single queue waits for the other one.
//
// The other end leaves out the barrier between its store and its look at the armed word. That is
// most of what makes a Single queue fast. So the end that waits runs a barrier in all processes
// (fence.Heavy), which takes some microseconds. An end that waits after every few messages saves
// them: by a word beside the armed one it asks the other end to use barriers itself.
//
// The publish that is under way when an end begins to ask may still have no barrier. That it is
// this one that is overlooked later is very unlikely, and the backstop of package wait would find
// it.
//
// One goroutine at a time calls wait; ready and checked run in any goroutine of the process.
type waiterEnd struct {
	ask     *atomic.Uint32 // not 0: the other end uses barriers
	armed   *atomic.Uint32
	probe   func() bool                   // what wait.Options.Probe is
	peer    func() (id uint32, gone bool) // the other end; nil: what becomes of it does not matter
	ready   func() bool                   // there may be something to do; without a barrier
	checked func() bool                   // the same, with the barriers that it takes

	count    uint64 // messages that this end has moved, in a queue of bytes
	lastWait uint64 // position of the last wait
	lastPark uint64 // position of the last wait that was long enough to park

	looks  atomic.Uint32 // calls of checked during this wait
	barred atomic.Bool   // the other end used barriers already before this wait
}

// barrierThreshold is how many messages between two waits are too few for fence.Heavy.
const barrierThreshold = 128

func (w *waiterEnd) init(ask, armed *atomic.Uint32, ready func() bool) {
	w.ask, w.armed, w.ready = ask, armed, ready
	w.checked = func() bool {
		if ready() {
			return true
		}
		// The first look comes before the word is armed: it needs no barrier.
		if w.looks.Add(1) == 1 || w.barred.Load() {
			return false
		}
		fence.Heavy()
		return ready()
	}
}

// wait waits until ready. pos is the position of this end, in items; an end of bytes counts
// messages itself.
func (w *waiterEnd) wait(ctx context.Context, m *mem.Mapping, pos uint64, capacity int) error {
	if w.count != 0 {
		pos = w.count
	}
	sinceLastWait := pos - w.lastWait
	w.lastWait = pos
	wait.YieldLines(sinceLastWait, capacity)
	if wait.Spin(m, w.armed, w.ready) {
		return nil
	}
	ask := uint32(0)
	if pos-w.lastPark < barrierThreshold {
		ask = 1
	}
	w.lastPark = pos
	w.barred.Store(ask == 1 && w.ask.Load() == 1)
	w.ask.Store(ask)
	w.looks.Store(0)
	o := wait.Options{Probe: w.probe, NoSpin: true}
	if w.peer != nil {
		o.Probe = func() bool { return w.probe() || w.peerGone() }
		if id, _ := w.peer(); id != 0 {
			o.Watch = []format.ID{format.ID(id)}
		}
	}
	return stream.Wait(ctx, m, w.armed, w.checked, o)
}

// peerGone reports whether the other end is gone, if that matters.
func (w *waiterEnd) peerGone() bool {
	if w.peer == nil {
		return false
	}
	_, gone := w.peer()
	return gone
}

// enter is wait in a group, where checked is that of w or more. The other end uses barriers from
// now on, until a later wait that lasts.
func (w *waiterEnd) enter(g *wait.Group, m *mem.Mapping, checked func() bool) error {
	if w.ready() {
		return nil
	}
	w.barred.Store(w.ask.Load() == 1)
	w.ask.Store(1)
	w.looks.Store(0)
	return g.Enter(m, w.armed, checked, wait.Options{Probe: w.probe})
}
