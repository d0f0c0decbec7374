//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

const childArg = "storm-child"

// A kind is what a name is.
type kind int

const (
	sharedBox kind = iota
	ownedBox
	aQueue
	aTopic
)

// names are the names, by what they are.
var names = [...]kind{sharedBox, sharedBox, ownedBox, ownedBox, aQueue, aQueue, aQueue, aTopic}

func nameOf(n int) string {
	return [...]string{"shared", "owned", "queue", "topic"}[names[n]] + "-" + strconv.Itoa(n)
}

// gateTime is how long a call may wait for the gate. The machine may be loaded.
const gateTime = time.Minute

// A tally is the value of a box.
type tally struct{ N, Check uint64 }

// A note is a message of a topic.
type note struct {
	Publisher, Seq uint64
}

// A child is a process of the storm.
type child struct {
	b      *books
	p      *process
	index  int
	dir    string
	log    string
	life   int    // cycles until it ends
	chance int    // one step in so many is its last; 0: none
	self   uint64 // random, for topics
	seq    [goroutines]uint64
}

func runChild(args []string) {
	index, _ := strconv.Atoi(args[0])
	dir, log := filepath.Join(args[1], "seg"), filepath.Join(args[1], "log")
	c := &child{index: index, dir: dir, log: log}
	var err error
	if c.b, err = openBooks(filepath.Join(args[1], "books"), false); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
	c.p, c.self = &c.b.processes[index], rand.Uint64()
	c.life = 1 + rand.IntN(60)
	if rand.IntN(2) == 0 {
		c.chance = 50 + rand.IntN(2000)
	}
	step.Hook(c.point)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range c.life {
				if c.b.stop.Load() != 0 {
					return
				}
				c.cycle(g)
				c.p.beat.Add(1)
			}
		})
	}
	wg.Wait()
}

// point is called at every step of the library. The process may die there.
func (c *child) point(step.Point) {
	switch {
	case c.b.calm.Load() != 0:
	case c.chance > 0 && rand.IntN(c.chance) == 0:
		c.die(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	case rand.IntN(100) == 0:
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

func (c *child) die(how func()) {
	c.p.doomed.Store(1)
	how()
	select {}
}

func (c *child) violate(v violation, format string, args ...any) {
	violate(c.b, c.log, v, "process "+strconv.Itoa(c.index)+": "+format, args...)
}

func violate(b *books, log string, v violation, format string, args ...any) {
	b.violations[v].Add(1)
	if f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintf(f, violationNames[v]+": "+format+"\n", args...)
		_ = f.Close()
	}
}

// check reports whether a call has succeeded. An error that is not allowed is a violation.
func (c *child) check(op string, err error, allowed ...error) bool {
	if err == nil {
		return true
	}
	for _, e := range allowed {
		if errors.Is(err, e) {
			return false
		}
	}
	c.violate(unexpected, "%s: %v", op, err)
	return false
}

// cycle opens a name, uses it, and leaves it.
func (c *child) cycle(g int) {
	n := rand.IntN(len(names))
	if rand.IntN(40) == 0 {
		for _, err := range shmem.Reclaim(c.dir) {
			c.check("Reclaim", err, fs.ErrNotExist)
		}
	}
	switch names[n] {
	case sharedBox, ownedBox:
		c.box(g, n)
	case aQueue:
		c.queue(g, n)
	case aTopic:
		c.topic(g, n)
	}
}

// A sighting is what another goroutine was attached to before an Open.
type sighting struct {
	p        *process
	h        *holding
	turn, id uint64
}

// others returns what other goroutines are attached to by the name n.
func (c *child) others(g, n int) (seen []sighting) {
	for i := range c.b.processes {
		p := &c.b.processes[i]
		for j := range p.at {
			h := &p.at[j]
			if p == c.p && j == g {
				continue
			}
			s := sighting{p, h, h.turn.Load(), h.id.Load()}
			if s.id != 0 && h.name.Load() == uint64(n)+1 && h.turn.Load() == s.turn {
				seen = append(seen, s)
			}
		}
	}
	return seen
}

// opened notes an attachment, and checks that no other goroutine has been attached to another
// segment of the name all the time since before it was opened.
func (c *child) opened(g, n int, s *shmem.Segment, before []sighting) (id uint64) {
	head := segment.Shmem.Attachment(s).Header().ID
	id = binary.NativeEndian.Uint64(head[:])
	for _, o := range before {
		// In this order: the parent changes the turn before it says that the next process in the
		// place of a dead one is not doomed.
		if o.id == id || o.p.doomed.Load() != 0 || o.h.turn.Load() != o.turn ||
			c.b.names[n].hasEnded(o.id) {
			continue
		}
		c.violate(split, "%s: segment %x was opened while %x was attached", nameOf(n), id, o.id)
	}
	h := &c.p.at[g]
	h.turn.Add(1)
	h.name.Store(uint64(n) + 1)
	h.id.Store(id)
	c.b.counts[opens].Add(1)
	c.apart(g, n, id)
	return id
}

// apart checks that no other goroutine is attached to another segment of the name now. An owner
// that has closed one of the two may have parted them. This finds what opened does not: two that
// were opened at the same time.
func (c *child) apart(g, n int, id uint64) {
	for _, o := range c.others(g, n) {
		if o.id == id || o.p.doomed.Load() != 0 || o.h.turn.Load() != o.turn {
			continue
		}
		if book := &c.b.names[n]; !book.hasEnded(o.id) && !book.hasEnded(id) {
			c.violate(split, "%s: segment %x is attached, and %x too", nameOf(n), id, o.id)
		}
	}
}

// leave ends an attachment in one of the ways.
func (c *child) leave(g, n int, s *shmem.Segment, id uint64) {
	if c.b.calm.Load() == 0 && rand.IntN(300) == 0 {
		c.die(func() { os.Exit(exitCode) }) // without closing anything
	}
	c.apart(g, n, id)
	if s.Owned() {
		c.b.names[n].end(id)
	}
	h := &c.p.at[g]
	h.id.Store(0)
	h.turn.Add(1)
	c.check("Close", s.Close())
	c.b.counts[closes].Add(1)
}

// exitCode is that of a process that leaves without closing.
const exitCode = 7

// box adds to a box some times. What it has seen, and what is in the books, must be there.
func (c *child) box(g, n int) {
	o := &shmem.Options{Dir: c.dir, Timeout: gateTime, Lifetime: shmem.Owned}
	if names[n] == sharedBox {
		o.Lifetime = shmem.Shared
	}
	before := c.others(g, n)
	b, err := shmem.Open[tally](nameOf(n), o)
	if !c.check("Open", err) {
		return
	}
	id := c.opened(g, n, b.Segment(), before)
	book := &c.b.names[n]
	least := book.least(id)
	for range 1 + rand.IntN(4) {
		var now uint64
		err := b.Update(context.Background(), func(t *tally) error {
			if t.Check != ^t.N && t.N != 0 {
				return fmt.Errorf("%d with %#x", t.N, t.Check)
			}
			t.N++
			t.Check = ^t.N
			now = t.N
			return nil
		})
		if !c.check("Update", err) {
			break
		}
		if now <= least {
			c.violate(lostState, "%s: %d, and it had been %d", nameOf(n), now, least)
		}
		least = now
		book.reached(id, now)
		c.b.counts[updates].Add(1)
	}
	if names[n] == ownedBox && rand.IntN(10) == 0 && c.check("Own", b.Own(), shmem.ErrDropped) {
		c.b.counts[owns].Add(1)
	}
	c.leave(g, n, b.Segment(), id)
}

// queue sends and receives a little.
func (c *child) queue(g, n int) {
	before := c.others(g, n)
	q, err := queue.Open[uint64](nameOf(n), &queue.Options{
		Dir: c.dir, Capacity: 8, Timeout: gateTime,
	})
	if !c.check("queue.Open", err) {
		return
	}
	id := c.opened(g, n, q.Segment(), before)
	for range rand.IntN(4) {
		if rand.IntN(100) < 52 {
			c.send(q)
		} else {
			c.receive(q, time.Millisecond)
		}
	}
	c.leave(g, n, q.Segment(), id)
}

func (c *child) send(q *queue.Queue[uint64]) {
	m := c.b.messages.Add(1)
	if m >= maxMessages {
		return
	}
	if c.check("TrySend", q.TrySend(m), queue.ErrFull) {
		c.b.ledger[m].Or(sent)
		c.b.counts[sends].Add(1)
	}
}

// receive receives a message if there is one. It is noted before the queue forgets it.
func (c *child) receive(q *queue.Queue[uint64], limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := q.RecvFunc(ctx, func(m *uint64) error {
		if *m == 0 || *m >= maxMessages {
			c.violate(unexpected, "message %d", *m)
			return nil
		}
		c.b.ledger[*m].Or(received)
		return nil
	})
	if !c.check("RecvFunc", err, context.DeadlineExceeded) {
		return false
	}
	c.b.counts[receives].Add(1)
	return true
}

// topic publishes a little and listens. What one publisher says comes in order.
func (c *child) topic(g, n int) {
	before := c.others(g, n)
	t, err := topic.Open[note](nameOf(n), &topic.Options{
		Dir: c.dir, Capacity: 64, Timeout: gateTime,
	})
	if !c.check("topic.Open", err) {
		return
	}
	id := c.opened(g, n, t.Segment(), before)
	s, err := t.Subscribe(topic.Oldest)
	if c.check("Subscribe", err) {
		for range rand.IntN(6) {
			c.seq[g]++
			v := note{c.self + uint64(g), c.seq[g]}
			if c.check("TryPublish", t.TryPublish(v), topic.ErrFull) {
				c.b.counts[publishes].Add(1)
			}
		}
		c.listen(s)
		c.check("Subscription.Close", s.Close())
	}
	c.leave(g, n, t.Segment(), id)
}

func (c *child) listen(s *topic.Subscription[note]) {
	last := map[uint64]uint64{}
	for range 100 {
		v, err := s.TryRecv()
		if !c.check("TryRecv", err, topic.ErrEmpty, topic.ErrLost) {
			return
		}
		if last[v.Publisher] >= v.Seq {
			c.violate(disorder, "%d after %d", v.Seq, last[v.Publisher])
		}
		last[v.Publisher] = v.Seq
		c.b.counts[heard].Add(1)
	}
}
