package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
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
		Sem   psync.Semaphore
	}
)

// An operation is prepared once, in a directory of its own, then done many times.
type operation struct {
	name    string
	prepare func(dir string) func()
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

// inBox prepares f, which uses the locks in a box.
func inBox(f func(*shared)) func(string) func() {
	return func(dir string) func() {
		v := box[shared](dir).Value()
		return func() { f(v) }
	}
}

// ofBox prepares f, which uses a box of 64 bytes.
func ofBox(f func(*shmem.Box[line])) func(string) func() {
	return func(dir string) func() {
		b := box[line](dir)
		return func() { f(b) }
	}
}

// ofQueue prepares f, which uses a queue.
func ofQueue(single bool, f func(*queue.Queue[line]) func()) func(string) func() {
	return func(dir string) func() {
		q, err := queue.Create[line](fmt.Sprint("q", single),
			&queue.Options{Dir: dir, Single: single})
		must(err)
		return f(q)
	}
}

// ofMap prepares f, which uses a map with the key {1, 2}.
func ofMap(f func(*kv.Map[[2]uint64, line])) func(string) func() {
	return func(dir string) func() {
		m, err := kv.Create[[2]uint64, line]("map", &kv.Options{Dir: dir})
		must(err)
		must(m.Set(ctx, [2]uint64{1, 2}, kept))
		return func() { f(m) }
	}
}

var many [32]line

// ofTopic prepares f, which uses a topic.
func ofTopic(
	f func(*topic.Topic[line], *topic.Publisher[line], *topic.Subscription[line]),
) func(string) func() {
	return func(dir string) func() {
		t, err := topic.Create[line]("t", &topic.Options{Dir: dir})
		must(err)
		p, err := t.Publisher()
		must(err)
		s, err := t.Subscribe(topic.Now)
		must(err)
		return func() { f(t, p, s) }
	}
}

// methods sends and receives by the queue's own methods.
func methods(q *queue.Queue[line]) func() {
	return func() {
		must(q.Send(ctx, kept))
		_, err := q.Recv(ctx)
		must(err)
	}
}

// ends sends and receives by a Sender and a Receiver.
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
	{"Mutex: Lock, Unlock", inBox(func(v *shared) {
		must(v.Mutex.Lock(ctx))
		must(v.Mutex.Unlock())
	})},
	{"RWMutex: RLock, RUnlock", inBox(func(v *shared) {
		must(v.RW.RLock(ctx))
		must(v.RW.RUnlock())
	})},
	{"Event: Set, Reset", inBox(func(v *shared) { must(v.Event.Set()); must(v.Event.Reset()) })},
	{"Semaphore: Acquire, Release", inBox(func(v *shared) {
		if v.Sem.Limit() == 0 {
			must(v.Sem.SetLimit(2))
		}
		must(v.Sem.Acquire(ctx, 1))
		must(v.Sem.Release(1))
	})},
	{"Box of 64 B: Value", ofBox(func(b *shmem.Box[line]) { b.Value()[0]++ })},
	{"Box of 64 B: Load", ofBox(func(b *shmem.Box[line]) {
		var err error
		kept, err = b.Load(ctx)
		must(err)
	})},
	{"Box of 64 B: Store", ofBox(func(b *shmem.Box[line]) { must(b.Store(ctx, kept)) })},
	{"Box of 64 B: View", ofBox(func(b *shmem.Box[line]) { must(b.View(ctx, nothing)) })},
	{"Box of 64 B: Update", ofBox(func(b *shmem.Box[line]) { must(b.Update(ctx, nothing)) })},
	{"Queue of 64 B: Send, Recv", ofQueue(false, methods)},
	{"Queue of 64 B: Sender, Receiver", ofQueue(false, ends)},
	{"Queue of 64 B, Single: Send, Recv", ofQueue(true, methods)},
	{"Queue of 64 B, Single: Sender, Receiver", ofQueue(true, ends)},
	{"Map of 64 B: Get", ofMap(func(m *kv.Map[[2]uint64, line]) {
		var err error
		kept, _, err = m.Get([2]uint64{1, 2})
		must(err)
	})},
	{"Map of 64 B: Set", ofMap(func(m *kv.Map[[2]uint64, line]) {
		must(m.Set(ctx, [2]uint64{1, 2}, kept))
	})},
	{"Topic of 64 B: Publish, Recv", ofTopic(func(
		t *topic.Topic[line], _ *topic.Publisher[line], s *topic.Subscription[line],
	) {
		must(t.Publish(ctx, kept))
		_, err := s.Recv(ctx)
		must(err)
	})},
	{"Topic of 64 B: Publisher, Recv", ofTopic(func(
		_ *topic.Topic[line], p *topic.Publisher[line], s *topic.Subscription[line],
	) {
		must(p.Publish(ctx, kept))
		_, err := s.Recv(ctx)
		must(err)
	})},
	{"Topic of 64 B: PublishBatch, RecvBatch of 32", ofTopic(func(
		_ *topic.Topic[line], p *topic.Publisher[line], s *topic.Subscription[line],
	) {
		_, err := p.PublishBatch(ctx, many[:])
		must(err)
		_, err = s.RecvBatch(ctx, many[:])
		must(err)
	})},
}

func nothing(v *line) error { v[0]++; return nil }

// child does, in directories below base, each operation 8 times, then 16 times, each between two
// marks.
func child(base string) {
	for _, o := range operations {
		dir, err := os.MkdirTemp(base, "")
		must(err)
		f := o.prepare(dir)
		for range 1024 {
			f()
		}
		for range rounds {
			for _, n := range []int{some, 2 * some} {
				// so that the scheduler does not interrupt this goroutine for the next 10 ms
				runtime.Gosched()
				mark()
				for range n {
					f()
				}
				mark()
			}
		}
	}
}

const (
	childEnv = "SHMEM_INSTRUCTIONS"
	rounds   = 1
	some     = 8
)
