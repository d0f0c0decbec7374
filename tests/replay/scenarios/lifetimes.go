//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

// droppedOnce is what must hold at the end if no process was killed: each segment that was opened
// has been dropped once.
func droppedOnce(r *world.Run, opened *[]uint64) func() error {
	return func() error {
		if r.Killed() {
			return nil
		}
		for _, inode := range *opened {
			if n := dropped[inode]; n != 1 {
				return fmt.Errorf("inode %d was dropped %d times", inode, n)
			}
		}
		return nil
	}
}

// equals: equal processes open a shared box, use it and close it. While one of them is attached the
// name leads to its segment. The last one to close drops it, once, and nothing is left.
func equals(n, rounds int, options shmem.Options) func(r *world.Run) {
	return func(r *world.Run) {
		dropped = map[uint64]int{}
		var attached owners
		var opened []uint64
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			p.Go("main", func() {
				for range rounds {
					o := options
					b, err := shmem.Open[life]("box", &o)
					must(err, "Open")
					me := owner{p, kernel.InodeAt(b.Value())}
					opened = append(opened, me.inode)
					attached.add(me)
					attached.look()
					must(b.Update(background, func(l *life) error { l.N++; return nil }), "Update")
					attached.look()
					attached.drop(me)
					must(b.Close(), "Close")
				}
			})
		}
		r.Check(tidy(r))
		r.Check(droppedOnce(r, &opened))
	}
}

// reopening: two equal processes close a shared box, and one of them opens it again at once: the
// old segment, or a new one while the other is on its way to drop the old one.
func reopening(r *world.Run) {
	dropped = map[uint64]int{}
	opts := &shmem.Options{Slots: 4, Lifetime: shmem.Shared}
	var opened []uint64
	open := func() *shmem.Box[life] {
		b, err := shmem.Open[life]("box", opts)
		must(err, "Open")
		opened = append(opened, kernel.InodeAt(b.Value()))
		return b
	}
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		var b *shmem.Box[life]
		p.Do(func() { b = open() })
		p.Go("main", func() {
			must(b.Close(), "Close")
			if i == 1 {
				must(open().Close(), "Close")
			}
		})
	}
	r.Check(tidy(r))
	r.Check(droppedOnce(r, &opened))
}

// orphaning: the owner dies, or closes, while others are attached. One of them is the last to
// close: nothing is left. It drops the value once, unless the owner has died over its own cleanup.
func orphaning(r *world.Run) {
	dropped = map[uint64]int{}
	opts := &shmem.Options{Slots: 4}
	a, b, c := r.Process("A"), r.Process("B").Spare(), r.Process("C").Spare()
	boxes := map[*world.Process]*shmem.Box[life]{}
	for _, p := range []*world.Process{a, b, c} {
		p.Do(func() {
			x, err := shmem.Open[life]("box", opts)
			must(err, "Open")
			boxes[p] = x
		})
	}
	inode := kernel.InodeAt(boxes[a].Value())
	closing := false
	a.Go("main", func() {
		must(boxes[a].Update(background, func(l *life) error { l.N++; return nil }), "Update")
		closing = true
		must(boxes[a].Close(), "Close")
	})
	for _, p := range []*world.Process{b, c} {
		p.Go("main", func() {
			world.Await(func() bool { return a.Over() && (a.Alive() || a.Told()) })
			must(boxes[p].Close(), "Close")
		})
	}
	r.Check(func() error {
		if names := kernel.Names(); len(names) > 0 {
			return fmt.Errorf("left in the directory: %v", names)
		}
		if n := dropped[inode]; n != 1 && !(r.Killed() && closing) {
			return fmt.Errorf("dropped %d times", n)
		}
		return nil
	})
}

// keeping: the segment was created kept. Processes open, close and die, and it stays the same.
func keeping(r *world.Run) {
	dropped = map[uint64]int{}
	opts := &shmem.Options{Slots: 4, Lifetime: shmem.Kept}
	var inode uint64
	r.Process("A").Spare().Do(func() {
		b, err := shmem.Create[life]("box", opts)
		must(err, "Create")
		inode = kernel.InodeAt(b.Value())
		must(b.Close(), "Close")
	})
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		p.Go("main", func() {
			b, err := shmem.Open[life]("box", opts)
			must(err, "Open")
			if got := kernel.InodeAt(b.Value()); got != inode {
				world.Fail("%s has opened inode %d, not %d", p.Name, got, inode)
			}
			must(b.Close(), "Close")
		})
	}
	r.Check(func() error {
		if got := kernel.InodeOf("/dev/shm/box"); got != inode || len(dropped) > 0 {
			return fmt.Errorf("the name leads to inode %d, not %d; %d drops", got, inode,
				len(dropped))
		}
		return nil
	})
}

// ownedAndKept: the segment was created kept. A process owns it and may die: then it is kept again.
func ownedAndKept(r *world.Run) {
	dropped = map[uint64]int{}
	opts := &shmem.Options{Slots: 4, Lifetime: shmem.Kept}
	var inode uint64
	r.Process("A").Spare().Do(func() {
		b, err := shmem.Create[life]("box", opts)
		must(err, "Create")
		inode = kernel.InodeAt(b.Value())
		must(b.Close(), "Close")
	})
	o, closing := r.Process("O"), false
	o.Go("main", func() {
		b, err := shmem.Attach[life]("box", opts)
		must(err, "Attach")
		must(b.Own(), "Own")
		closing = true
		must(b.Close(), "Close")
	})
	p := r.Process("P").Spare()
	p.Go("main", func() {
		world.Await(func() bool { return o.Over() && (o.Alive() || o.Told()) })
		b, err := shmem.Open[life]("box", opts)
		must(err, "Open")
		if got := kernel.InodeAt(b.Value()); got != inode && !closing {
			world.Fail("it has opened inode %d, not %d", got, inode)
		}
		must(b.Close(), "Close")
	})
	r.Check(func() error {
		if n := dropped[inode]; n > 1 || n == 1 && !closing {
			return fmt.Errorf("dropped %d times", n)
		}
		return nil
	})
}

// leavingUnread: processes open a shared queue, send, and close it, so that it often has unread
// messages and no attachment. Every message that was sent with nil is received in the end.
func leavingUnread(r *world.Run) {
	opts := &queue.Options{Capacity: 2, Slots: 8}
	var sent, got [10]bool
	open := func() *queue.Queue[uint64] {
		q, err := queue.Open[uint64]("q", opts)
		must(err, "Open")
		return q
	}
	var ps []*world.Process
	for i := range 2 {
		p := r.Process(fmt.Sprintf("S%d", i))
		ps = append(ps, p)
		p.Go("main", func() {
			for k := range 2 {
				q, m := open(), uint64(4*i+k+1)
				switch err := q.TrySend(m); {
				case err == nil:
					sent[m] = true
				case !errors.Is(err, queue.ErrFull):
					world.Fail("TrySend: %v", err)
				}
				must(q.Close(), "Close")
			}
		})
	}
	x := r.Process("R").Spare()
	x.Go("main", func() {
		q := open()
		if m, err := q.TryRecv(); err == nil {
			got[m] = true
		} else if !errors.Is(err, queue.ErrEmpty) {
			world.Fail("TryRecv: %v", err)
		}
		must(q.Close(), "Close")
		for _, p := range ps {
			world.Await(func() bool { return p.Over() && (p.Alive() || p.Told()) })
		}
		receiveUnread(opts, got[:])
		for m := range sent {
			if sent[m] && !got[m] {
				world.Fail("message %d is lost", m)
			}
		}
		reclaim()
	})
	r.Check(func() error {
		if names := kernel.Names(); len(names) > 0 {
			return fmt.Errorf("left in the directory: %v", names)
		}
		return nil
	})
}

// receiveUnread receives what a queue has that no process is attached to.
func receiveUnread(opts *queue.Options, got []bool) {
	info, err := shmem.Stat("", "q")
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.State == shmem.Garbage {
		return
	}
	must(err, "Stat")
	q, err := queue.Attach[uint64]("q", opts)
	must(err, "Attach")
	for range info.Unread {
		m, err := q.Recv(background)
		must(err, "Recv")
		got[m] = true
	}
	must(q.Close(), "Close")
}

func init() {
	gate := func(c world.Config) world.Config { c.Idle = 12 * time.Millisecond; return c }
	shared := shmem.Options{Slots: 4, Lifetime: shmem.Shared}
	scenario("lifecycle-shared", gate(world.Config{Stops: 1}), equals(2, 2, shared))
	scenario("lifecycle-shared-three", gate(world.Config{}), equals(3, 1, shared))
	scenario("lifecycle-shared-kill", gate(world.Config{Kills: 1}), equals(3, 1, shared))
	scenario("lifecycle-shared-again", gate(world.Config{Stops: 1}), reopening)
	scenario("lifecycle-orphan", gate(world.Config{Kills: 1}), orphaning)
	scenario("lifecycle-kept", gate(world.Config{Kills: 1}), keeping)
	scenario("lifecycle-kept-owned", gate(world.Config{Kills: 1}), ownedAndKept)
	scenario("lifecycle-unread", gate(world.Config{Kills: 1}), leavingUnread)
}
