//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

// A life is a value that knows whether it was prepared, and is dropped once.
type life struct{ Magic, N uint64 }

// dropped counts the drops of each file of the run.
var dropped map[uint64]int

// Init prepares the value.
func (l *life) Init() error {
	world.Yield("Init")
	l.Magic = 42
	return nil
}

// Drop notes that the value was dropped.
func (l *life) Drop() {
	world.Yield("Drop")
	if n := kernel.InodeAt(l); n != 0 {
		if dropped[n]++; dropped[n] > 1 {
			world.Fail("the value is dropped twice")
		}
	}
}

// owners are the attachments that own their segment, live, and have not begun to close. As long as
// one does, the name leads to its segment.
type owners struct {
	list    []owner
	removed bool // the scenario removes names
}

type owner struct {
	p     *world.Process
	inode uint64
}

func (o *owners) add(w owner) { o.list = append(o.list, w) }
func (o *owners) drop(w owner) {
	o.list = slices.DeleteFunc(o.list, func(x owner) bool { return x == w })
}

func (o *owners) look() {
	for _, w := range o.list {
		if w.p.Alive() && !o.removed && kernel.InodeOf("/dev/shm/box") != w.inode {
			world.Fail("%s owns the box and lives, and the name does not lead to it", w.p.Name)
		}
	}
}

// tidy is what must hold at the end: no attachment is left, and no file.
func tidy(r *world.Run) func() error {
	return func() error {
		if names := kernel.Names(); len(names) > 0 && !r.Killed() && r.Config.Forks == 0 {
			return fmt.Errorf("left in the directory: %v", names)
		}
		if n := kernel.Locks(); n > 0 {
			return fmt.Errorf("%d lock bytes are still held", n)
		}
		return nil
	}
}

// expected are errors of opening that the faults of a scenario explain.
func expected(r *world.Run, err error) bool {
	return r.Config.Errors > 0 &&
		(errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENOSPC) ||
			errors.Is(err, syscall.ENOMEM))
}

// living: processes open a box, use it, and close it, again and again.
func living(n, rounds int) func(r *world.Run) {
	return func(r *world.Run) {
		dropped = map[uint64]int{}
		var own owners
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			p.Go("main", func() {
				for range rounds {
					if b, err := shmem.Open[life]("box", &shmem.Options{Slots: 4}); err == nil {
						use(p, b, &own)
					} else if !expected(r, err) {
						world.Fail("Open: %v", err)
					}
				}
			})
		}
		r.Check(tidy(r))
		r.Check(func() error {
			if len(dropped) == 0 && !r.Killed() && r.Config.Errors == 0 {
				return errors.New("no process has dropped the value")
			}
			return nil
		})
	}
}

// use updates the box once and closes it.
func use(p *world.Process, b *shmem.Box[life], own *owners) {
	v := b.Value()
	if v.Magic != 42 {
		world.Fail("%s is attached to a value that is not prepared", p.Name)
	}
	me := owner{p, kernel.InodeAt(v)}
	if b.Owned() {
		own.add(me)
	}
	own.look()
	must(b.Update(background, func(l *life) error { l.N++; return nil }), "Update")
	own.look()
	own.drop(me)
	must(b.Close(), "Close")
}

// handingOn: the owner leaks the box, the next process owns it, and its Close ends it.
func handingOn(r *world.Run) {
	dropped = map[uint64]int{}
	opts := &shmem.Options{Slots: 4}
	a, b, c := r.Process("A"), r.Process("B"), r.Process("C").Spare()
	var box *shmem.Box[life]
	a.Do(func() {
		var err error
		box, err = shmem.Create[life]("box", opts)
		must(err, "Create")
	})
	a.Go("main", func() { must(box.Leak(), "Leak") })
	for _, p := range []*world.Process{b, c} {
		p.Go("main", func() {
			x, err := shmem.Open[life]("box", opts)
			must(err, "Open")
			if err := x.Own(); err != nil && !errors.Is(err, shmem.ErrDropped) {
				world.Fail("Own: %v", err)
			}
			must(x.Update(background, func(l *life) error { l.N++; return nil }), "Update")
			must(x.Close(), "Close")
		})
	}
	r.Check(func() error {
		if r.Killed() {
			return nil
		}
		for _, n := range dropped {
			if n != 1 {
				return fmt.Errorf("dropped %d times", n)
			}
		}
		return nil
	})
}

// removing: one process removes the name while others open and close.
func removing(r *world.Run) {
	dropped = map[uint64]int{}
	own := owners{removed: true}
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		p.Go("main", func() {
			b, err := shmem.Open[life]("box", &shmem.Options{Slots: 4})
			must(err, "Open")
			use(p, b, &own)
		})
	}
	x := r.Process("X").Spare()
	x.Go("main", func() {
		if err := shmem.Remove("", "box"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			world.Fail("Remove: %v", err)
		}
	})
	r.Check(tidy(r))
}

// reclaiming: one process collects garbage while others open and close, and die.
func reclaiming(r *world.Run) {
	dropped = map[uint64]int{}
	var own owners
	var ps []*world.Process
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		ps = append(ps, p)
		p.Go("main", func() {
			b, err := shmem.Open[life]("box", &shmem.Options{Slots: 4})
			must(err, "Open")
			use(p, b, &own)
		})
	}
	x := r.Process("X").Spare()
	x.Go("main", func() {
		reclaim()
		for _, p := range ps { // then once more, when all is over
			world.Await(func() bool { return p.Over() && (p.Alive() || p.Told()) })
		}
		reclaim()
	})
	r.Check(func() error {
		if names := kernel.Names(); len(names) > 0 {
			return fmt.Errorf("not reclaimed: %v", names)
		}
		return nil
	})
}

func reclaim() {
	for _, err := range shmem.Reclaim("") {
		must(err, "Reclaim")
	}
}

func init() {
	// The gate is tried every 5 ms at least.
	gate := func(c world.Config) world.Config { c.Idle = 12 * time.Millisecond; return c }
	errnos := []error{syscall.EMFILE, syscall.ENOSPC, syscall.ENOMEM}
	scenario("lifecycle", gate(world.Config{Stops: 1}), living(2, 2))
	scenario("lifecycle-kill", gate(world.Config{Kills: 1}), living(3, 1))
	scenario("lifecycle-kills", gate(world.Config{Kills: 2}), living(3, 2))
	scenario("lifecycle-named",
		gate(world.Config{Kills: 1, Vars: map[string]any{"internal/sys.AvoidNameless": true}}),
		living(3, 1))
	scenario("lifecycle-errors",
		world.Config{Errors: 3, Errnos: errnos, Idle: 200 * time.Millisecond}, living(2, 2))
	scenario("lifecycle-fork", world.Config{Kills: 1, Forks: 1, Idle: looked}, living(3, 1))
	scenario("own", gate(world.Config{Kills: 1}), handingOn)
	scenario("remove", gate(world.Config{Kills: 1}), removing)
	scenario("reclaim", gate(world.Config{Kills: 1}), reclaiming)
}
