//go:build linux && (amd64 || arm64)

package main

import (
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/tests/replay/world"
)

// The scenarios of this file hold threads at named steps until others have come so far, and a
// reader at one of its first points: one of them is where it has seen no writer, and has not set
// its mark.

// lateMark: a writer waits for a reader, which leaves just before the writer is armed. The mark of
// a second reader, which backs out, comes and goes while the writer looks at the marks.
func lateMark(r *world.Run) {
	a, w, b := r.Process("A").Spare(), r.Process("W").Spare(), r.Process("B").Spare()
	va, vw, vb := open[shared](a).Value(), open[shared](w).Value(), open[shared](b).Value()
	a.Do(func() { must(va.RW.RLock(background), "RLock") })
	var waits, left, armed, marked bool
	var at int
	writer := w.Go("main", func() {
		must(vw.RW.Lock(background), "Lock")
		must(vw.RW.Unlock(), "Unlock")
	})
	a.Go("main", func() {
		world.Await(func() bool { return waits })
		must(va.RW.RUnlock(), "RUnlock")
		left = true
	})
	reader := b.Go("main", func() {
		world.Hold(world.Choose(6), func() bool { return armed || writer.Done() })
		must(vb.RW.RLock(background), "RLock")
		must(vb.RW.RUnlock(), "RUnlock")
	})
	step.Hook(func(p step.Point) {
		switch by := world.Current(); {
		case by == w && p == step.WaitInterest:
			waits = true
			world.Await(func() bool { return left })
		case by == w && p == step.WaitArmed && !armed:
			armed, at = true, writer.Points()
			world.Await(func() bool { return marked || reader.Blocked() || reader.Done() })
		case by == b && p == step.RLockMark && armed && !marked:
			marked = true
			// It has looked at three marks, of which the last is that of B.
			world.Await(func() bool { return writer.Points() >= at+6 || writer.Blocked() })
		}
	})
}

// lateReader: a writer of a box waits for a reader. A second reader, which is to back out, dies
// where it has set its mark. The writer sees that at once.
func lateReader(r *world.Run) {
	a, w, b := r.Process("A").Spare(), r.Process("W").Spare(), r.Process("B")
	b.Unkillable()
	boxA, boxW, boxB := open[register](a), open[register](w), open[register](b)
	var reads, word bool
	nothing := func(*register) error { return nil }
	writer := w.Go("main", func() {
		world.Await(func() bool { return reads })
		must(boxW.Update(background, nothing), "Update")
	})
	reader := b.Go("main", func() {
		world.Await(func() bool { return reads })
		world.Hold(world.Choose(6), func() bool { return writer.Blocked() || writer.Done() })
		must(boxB.View(background, nothing), "View")
	})
	a.Go("main", func() {
		must(boxA.View(background, func(*register) error {
			reads = true
			world.Await(func() bool {
				gone := !b.Alive() || reader.Blocked() || reader.Done()
				return word && writer.Blocked() && gone
			})
			return nil
		}), "View")
	})
	step.Hook(func(p step.Point) {
		switch by := world.Current(); {
		case by == w && p == step.WriteWord:
			word = true
		case by == b && p == step.RLockMark && word:
			world.Await(func() bool { return writer.Blocked() || writer.Done() })
			b.Killable()
			for range 3 {
				world.Yield("has set its mark")
			}
			b.Unkillable()
		}
	})
}

func init() {
	scenario("rwmutex-late-mark", world.Config{}, lateMark)
	scenario("box-late-reader", world.Config{Kills: 1}, lateReader)
}
