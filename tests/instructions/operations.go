package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

type (
	line   [8]uint64
	shared struct {
		Mutex psync.Mutex
		RW    psync.RWMutex
		Event psync.Event
	}
)

// An operation is made once, then done many times.
type operation struct {
	name string
	make func(dir string) func()
}

var (
	ctx  = context.Background()
	kept line
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func box[T any](dir string) *shmem.Box[T] {
	b, err := shmem.Create[T]("box", &shmem.Options{Dir: dir})
	must(err)
	return b
}

func sync(f func(*shared)) func(string) func() {
	return func(dir string) func() {
		v := box[shared](dir).Value()
		return func() { f(v) }
	}
}

func value(f func(*shmem.Box[line])) func(string) func() {
	return func(dir string) func() {
		b := box[line](dir)
		return func() { f(b) }
	}
}

func many(single bool, f func(*queue.Queue[line]) func()) func(string) func() {
	return func(dir string) func() {
		q, err := queue.Create[line](fmt.Sprint("q", single), &queue.Options{Dir: dir, Single: single})
		must(err)
		return f(q)
	}
}

func methods(q *queue.Queue[line]) func() {
	return func() {
		must(q.Send(ctx, kept))
		_, err := q.Recv(ctx)
		must(err)
	}
}

func ends(q *queue.Queue[line]) func() {
	s, err := q.Sender()
	must(err)
	r, err := q.Receiver()
	must(err)
	return func() {
		must(s.Send(ctx, kept))
		_, err := r.Recv(ctx)
		must(err)
	}
}

var operations = []operation{
	{"Mutex: Lock, Unlock", sync(func(v *shared) { must(v.Mutex.Lock(ctx)); must(v.Mutex.Unlock()) })},
	{"RWMutex: RLock, RUnlock", sync(func(v *shared) { must(v.RW.RLock(ctx)); must(v.RW.RUnlock()) })},
	{"Event: Set, Reset", sync(func(v *shared) { must(v.Event.Set()); must(v.Event.Reset()) })},
	{"Box of 64 B: Value", value(func(b *shmem.Box[line]) { b.Value()[0]++ })},
	{"Box of 64 B: Load", value(func(b *shmem.Box[line]) { var err error; kept, err = b.Load(ctx); must(err) })},
	{"Box of 64 B: Store", value(func(b *shmem.Box[line]) { must(b.Store(ctx, kept)) })},
	{"Box of 64 B: View", value(func(b *shmem.Box[line]) { must(b.View(ctx, nothing)) })},
	{"Box of 64 B: Update", value(func(b *shmem.Box[line]) { must(b.Update(ctx, nothing)) })},
	{"Queue of 64 B: Send, Recv", many(false, methods)},
	{"Queue of 64 B: Sender, Receiver", many(false, ends)},
	{"Queue of 64 B, Single: Send, Recv", many(true, methods)},
	{"Queue of 64 B, Single: Sender, Receiver", many(true, ends)},
	{"Topic of 64 B: Publish, Recv", func(dir string) func() {
		t, err := topic.Create[line]("t", &topic.Options{Dir: dir})
		must(err)
		s, err := t.Subscribe(topic.Now)
		must(err)
		return func() {
			must(t.Publish(ctx, kept))
			_, err := s.Recv(ctx)
			must(err)
		}
	}},
}

func nothing(v *line) error { v[0]++; return nil }

// child does every operation between marks: 8 of them, then 16, and again.
func child() {
	for _, o := range operations {
		dir, err := os.MkdirTemp("/dev/shm", "counts-")
		must(err)
		f := o.make(dir)
		for range 1024 {
			f()
		}
		for range rounds {
			for _, n := range []int{some, 2 * some} {
				runtime.Gosched() // so that the scheduler wants nothing of this goroutine for the next 10 ms
				mark()
				for range n {
					f()
				}
				mark()
			}
		}
		must(os.RemoveAll(dir))
	}
}

const (
	childEnv = "SHMEM_COUNTS"
	rounds   = 1
	some     = 8
)
