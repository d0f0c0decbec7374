package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// base is what Queue and Bytes have in common.
type base struct {
	seg  *shmem.Segment
	m    *mem.Mapping
	name string
	self uint32 // the attachment's id, by which it claims

	many   many             // nil in a Single queue
	single *ring.SPSCHeader // nil in others
	deaths *deathCounters   // of a Single queue

	closed, head     *atomic.Uint64
	sendArmed        *atomic.Uint32 // where senders wait
	recvArmed        *atomic.Uint32
	canSend, canRecv func() bool   // something may have changed for who waits
	sendEnd, recvEnd end           // of a Single queue
	full             atomic.Uint64 // the head when the sender found no room
	sendAt, recvAt   atomic.Uint64 // position of the last wait, but in a Single queue
	capacity         int           // messages; of a Bytes: many
	repairing        func() bool
	looked           atomic.Int64 // when Try last looked for the dead

	sendLock, recvLock lock // of the ends of a Single queue, for the methods of the queue

	mu     sync.Mutex
	leave  map[any]func() // what Close does when calls have ended, by whose it is
	pinned bool           // for that
}

// many is what MPMC and MPMCBytes have in common.
type many interface {
	Cancel(self uint32, pos uint64) error
	GiveBack(self uint32, pos uint64) error
	Repair(alive func(uint32) bool) (skips, returns int)
	Stuck() (producer, consumer uint32)
	Holders(ids []uint32, n int) []uint32
	CanTake(self uint32) bool
	Sweep() bool
	Stats() ring.MPMCStats
	Close()
}

func (b *base) initMany(h *ring.MPMCHeader, r many, canSend func() bool) {
	b.setSelf()
	b.many, b.closed, b.head = r, &h.Closed, &h.Head
	b.sendArmed, b.recvArmed = &h.SendArmed, &h.RecvArmed
	b.canSend = canSend
	b.canRecv = func() bool { return r.CanTake(b.self) }
	b.repairing = func() bool { return b.repair() }
}

func (b *base) initSingle(l *layout.Queue) (err error) {
	b.setSelf()
	h, err := mem.At[ring.SPSCHeader](b.m, 0)
	if err != nil {
		return err
	}
	if b.deaths, err = mem.At[deathCounters](b.m, l.Deaths); err != nil {
		return err
	}
	b.single, b.closed, b.head = h, &h.Closed, &h.Head
	b.sendArmed, b.recvArmed = &h.SendArmed, &h.RecvArmed
	b.canSend = func() bool { return h.Head.Load() != b.full.Load() || h.Closed.Load() != 0 }
	b.canRecv = func() bool { return h.Tail.Load() != h.Head.Load() || h.Closed.Load() != 0 }
	b.sendEnd.init(&h.SendWait, b.sendArmed, b.canSend)
	b.recvEnd.init(&h.RecvWait, b.recvArmed, b.canRecv)
	b.sendLock.init()
	b.recvLock.init()
	return nil
}

func (b *base) setSelf() {
	if b.m.Peers != nil {
		b.self = uint32(b.m.Peers.Self)
	}
}

// An end is what one end of a Single queue does when it has to wait.
//
// The other end publishes without a barrier between its store and its look at the armed word, which is most of what
// makes a Single queue fast; so who waits runs a barrier in all processes (fence.Heavy), some microseconds. Where it
// waits after every few messages, that is the dearer of the two: it asks, by a word beside the armed one, for
// barriers at the other end. (The publish that is under way when it begins to ask has none: the chance that just
// this one is overlooked later is next to nothing, and the backstop of the wait finds it.)
type end struct {
	ask    *atomic.Uint32 // not 0: the other end uses barriers
	armed  *atomic.Uint32
	ready  func() bool // there may be something to do
	marked func() bool // the same, sure
	count  uint64      // of messages, in a Bytes
	at     uint64      // position of the last wait
	parked uint64      // of the last that was not over soon
	looks  atomic.Uint32
	sure   atomic.Bool // this time no barrier is needed here
}

// often is how many messages between two waits are too few for fence.Heavy.
const often = 128

func (e *end) init(ask, armed *atomic.Uint32, ready func() bool) {
	e.ask, e.armed, e.ready = ask, armed, ready
	e.marked = func() bool {
		// The first look is before the word is armed: it needs no barrier.
		if ready() {
			return true
		}
		if e.looks.Add(1) == 1 || e.sure.Load() {
			return false
		}
		fence.Heavy()
		return ready()
	}
}

// wait waits until ready; pos is how far this end has come, unless the end counts messages itself.
func (e *end) wait(ctx context.Context, m *mem.Mapping, pos uint64, capacity int) error {
	if e.count != 0 {
		pos = e.count
	}
	come := pos - e.at
	e.at = pos
	wait.Rest(come, capacity)
	if wait.Spin(m, e.armed, e.ready) {
		return nil
	}
	ask := uint32(0)
	if pos-e.parked < often {
		ask = 1
	}
	e.parked = pos
	e.sure.Store(ask == 1 && e.ask.Load() == 1)
	e.ask.Store(ask)
	e.looks.Store(0)
	return wait.Until(ctx, m, e.armed, e.marked, wait.Options{NoSpin: true})
}

func (b *base) object() robust.Object { return robust.Object{M: b.m, Me: format.ID(b.self)} }

// enter pins the mapping for a call.
func (b *base) enter() error {
	if !b.m.Pin() {
		return shmem.ErrClosed
	}
	if b.self == 0 || !b.m.Writable() {
		b.m.Unpin()
		return shmem.ErrReadOnly
	}
	return nil
}

// lightSend reports whether a sender may publish without a barrier, lightRecv whether a receiver may release so.
func (b *base) lightSend() bool { return fence.Light && b.single.RecvWait.Load() == 0 }
func (b *base) lightRecv() bool { return fence.Light && b.single.SendWait.Load() == 0 }

// alive asks the kernel once for each of the last ids.
func (b *base) alive() func(uint32) bool {
	var known [16]struct {
		id   uint32
		live bool
	}
	return func(id uint32) bool {
		k := &known[id%16]
		if k.id != id || id == 0 {
			k.id, k.live = id, b.m.Peers.Alive(format.ID(id))
		}
		return k.live
	}
}

// repair frees what the dead hold, and reports whether there was something.
func (b *base) repair() bool {
	if b.many == nil {
		return false
	}
	skips, returns := b.many.Repair(b.alive())
	// Claims that were given up while somebody waits for room are passed over by him: there may be no receiver.
	if swept := b.many.Sweep(); skips+returns == 0 && !swept {
		return false
	}
	step.Reach(step.QueueRepaired)
	wait.Wake(b.m, b.recvArmed)
	wait.Wake(b.m, b.sendArmed)
	return true
}

// lookNow is repair for who does not wait, at most every 10 ms.
func (b *base) lookNow() bool {
	return wait.Due(&b.looked) && b.repair()
}

// waitSend waits until a sender that found no room should look again; ready is asked.
func (b *base) waitSend(ctx context.Context, ready func() bool) error {
	if b.many == nil {
		return b.sendEnd.wait(ctx, b.m, b.single.Tail.Load(), b.capacity)
	}
	pos := b.head.Load()
	wait.Rest(pos-b.sendAt.Swap(pos), b.capacity)
	o := wait.Options{Look: b.repairing}
	if _, consumer := b.many.Stuck(); consumer != 0 {
		o.Watch = []format.ID{format.ID(consumer)}
	}
	return wait.Until(ctx, b.m, b.sendArmed, ready, o)
}

// waitRecv waits until a receiver that found nothing should look again.
func (b *base) waitRecv(ctx context.Context) error {
	if b.many == nil {
		return b.recvEnd.wait(ctx, b.m, b.single.Head.Load(), b.capacity)
	}
	wait.Wake(b.m, b.sendArmed) // places of dead or canceled senders were passed over
	pos := b.head.Load()
	wait.Rest(pos-b.recvAt.Swap(pos), b.capacity)
	if wait.Spin(b.m, b.recvArmed, b.canRecv) {
		return nil
	}
	o := wait.Options{Look: b.repairing, NoSpin: true}
	var ids [4]uint32
	if producer, _ := b.many.Stuck(); producer != 0 {
		o.Watch = append(o.Watch, format.ID(producer))
	}
	for _, id := range b.many.Holders(ids[:0], len(ids)) {
		if id != b.self {
			o.Watch = append(o.Watch, format.ID(id))
		}
	}
	return wait.Until(ctx, b.m, b.recvArmed, b.canRecv, o)
}

// patience is how often a call is tried before it rests between tries, unless it has slept in between: more often
// only where somebody scribbles, or very many contend.
const patience = 256

// tries counts those of one call.
type tries struct {
	n     int
	since time.Time
}

// again comes before another try of a call.
func (b *base) again(ctx context.Context, t *tries) error {
	if t.n++; t.n < patience {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.m.Closed() {
		return shmem.ErrClosed
	}
	if now := time.Now(); now.Sub(t.since) > patience*10*time.Microsecond {
		t.n, t.since = 0, now
		return nil
	}
	b.lookNow()
	time.Sleep(min(time.Duration(t.n-patience+1)*time.Microsecond, time.Millisecond))
	return nil
}

// errorOf is what the caller is told for an error of the ring.
func (b *base) errorOf(err error) error {
	switch err {
	case ring.ErrFull:
		return ErrFull
	case ring.ErrEmpty, ring.ErrHeld, ring.ErrBusy:
		return ErrEmpty
	}
	return fmt.Errorf("queue %s: %w (%v)", b.name, shmem.ErrCorrupt, err)
}

// published wakes who waits for a message.
func (b *base) published() {
	step.Reach(step.QueuePublished)
	wait.Wake(b.m, b.recvArmed)
	step.Reach(step.QueueSent)
}

// released wakes who waits for room.
func (b *base) released() {
	step.Reach(step.QueueReleased)
	wait.Wake(b.m, b.sendArmed)
	if b.many != nil && b.closed.Load() != 0 {
		wait.Wake(b.m, b.recvArmed) // the stream ends when the last one is released
	}
	step.Reach(step.QueueReceived)
}

func (b *base) cancel(pos uint64) error {
	err := b.many.Cancel(b.self, pos)
	step.Reach(step.QueueCanceled)
	if b.many.Sweep() {
		wait.Wake(b.m, b.sendArmed)
	}
	wait.Wake(b.m, b.recvArmed)
	return err
}

func (b *base) giveBack(pos uint64) error {
	err := b.many.GiveBack(b.self, pos)
	step.Reach(step.QueueReturned)
	wait.Wake(b.m, b.recvArmed)
	return err
}

// enterEnd takes an end of a Single queue, and counts it if its holder had died.
func enterEnd[E interface{ Leave() }](b *base, word, died *atomic.Uint64, end func(uint32, func(uint32) bool) (E, error)) (E, error) {
	was, dead := uint32(0), false // of him whom the ring found there
	e, err := end(b.self, func(id uint32) bool {
		was, dead = id, !b.m.Peers.Alive(format.ID(id))
		return !dead
	})
	if err == ring.ErrOccupied {
		if was == 0 || dead { // another was faster
			was = uint32(word.Load())
		}
		return e, b.taken(was)
	}
	if err != nil {
		return e, b.errorOf(err)
	}
	if dead {
		died.Add(1)
	}
	return e, nil
}

// ownEnd is enterEnd for the methods of the queue itself, under their lock l, until Close.
func ownEnd[E interface{ Leave() }](b *base, l *lock, word, died *atomic.Uint64, end func(uint32, func(uint32) bool) (E, error)) (E, error) {
	e, err := enterEnd(b, word, died, end)
	if err != nil {
		return e, err
	}
	err = b.atClose(l, func() {
		_ = l.lock(context.Background(), func() <-chan struct{} { return nil })
		e.Leave() // the lock stays: who was admitted before, and comes to it only now, must not use the end any more
	})
	if err != nil {
		e.Leave()
	}
	return e, err
}

// taken is the error of an end that another one has.
func (b *base) taken(id uint32) error {
	who := "this Queue's own methods or a Sender or Receiver of it, until the queue or that one is closed"
	if slot := int(format.ID(id).Slot()); id == 0 {
		who = "another one, who has left it just now"
	} else if id != b.self && slot < len(b.m.Peers.Slots) {
		who = fmt.Sprintf("pid %d (slot %d), until it closes it or dies", b.m.Peers.Slots[slot].PID.Load(), slot)
	}
	return fmt.Errorf("queue %s: %w by %s; for more than one sender and one receiver create it without Options.Single", b.name, ErrTaken, who)
}

// atClose says what Close does once no call is admitted any more, before the mapping goes: f waits for calls in flight
// of who, and leaves its end, which no one takes for a dead one's then. The caller has pinned the mapping.
func (b *base) atClose(who any, f func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m.Closed() {
		return shmem.ErrClosed
	}
	if !b.pinned {
		if !b.m.Pin() {
			return shmem.ErrClosed
		}
		b.pinned, b.leave = true, map[any]func(){}
		closing := b.m.Closing()
		go func() {
			<-closing
			b.mu.Lock()
			leave := slices.Collect(maps.Values(b.leave))
			b.mu.Unlock()
			for _, f := range leave {
				_ = b.m.Guard(f) // where somebody truncated the file, a fault here would be the end of the process
			}
			b.m.Unpin()
		}()
	}
	b.leave[who] = f
	return nil
}

// closeEnd closes a Sender or Receiver.
func (b *base) closeEnd(sec *fence.Section, leave func()) {
	if !b.m.Pin() { // the queue's Close leaves the end
		sec.Shut()
		return
	}
	defer b.m.Unpin()
	leave()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.leave, sec)
}

// end ends the stream.
func (b *base) end() error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.m.Unpin()
	if b.many != nil {
		b.many.Close()
	} else {
		b.single.Closed.Store(1)
	}
	step.Reach(step.QueueEnded)
	wait.Wake(b.m, b.recvArmed)
	wait.Wake(b.m, b.sendArmed)
	return nil
}
