//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

var ctx = context.Background()

type (
	small [1]uint64
	line  [8]uint64
	side  = func(n int) (run, done func(), err error)
)

const group32 = 32

func benches() (all []bench) {
	all = append(all, items[small]("8 bytes one by one", false, 3_000_000)...)
	all = append(all, items[line]("64 bytes one by one", false, 2_000_000)...)
	all = append(all, items[small]("8 bytes in batches of 32", true, 10_000_000)...)
	all = append(all, items[line]("64 bytes in batches of 32", true, 5_000_000)...)
	all = append(all, trips()...)
	for _, n := range []int{64, 4096, 65536, 1 << 20} {
		all = append(all, lengths(n)...)
	}
	for _, n := range []int{1, 8, 64} {
		all = append(all, topics(n))
	}
	return all
}

func nothing() {}

// typed opens the queue, here by creating it.
func typed[T any](here, single bool, name string) *queue.Queue[T] {
	o := &queue.Options{Capacity: 4096, Single: single}
	open := queue.Attach[T]
	if here {
		open = queue.Create[T]
	}
	q, err := open(*base+name, o)
	must(err)
	return q
}

func items[T any](group string, batch bool, n int) (all []bench) {
	add := func(name string, n int, here, there side) {
		all = append(all, bench{group: group, name: name, n: n, here: here, there: there, alone: there == nil})
	}
	size := mem.SizeOf[T]()
	send := func(single, handle bool) side {
		return func(n int) (func(), func(), error) {
			q := typed[T](true, single, "")
			return func() {
				var v T
				vs := make([]T, group32)
				s, _ := q.Sender()
				if !handle && s != nil {
					s.Close()
				}
				switch {
				case batch:
					for i := 0; i < n; i += group32 {
						_, err := s.SendBatch(ctx, vs)
						must(err)
					}
				case handle:
					for range n {
						must(s.Send(ctx, v))
					}
				default:
					for range n {
						must(q.Send(ctx, v))
					}
				}
			}, func() { q.Close() }, nil
		}
	}
	recv := func(single, handle bool) side {
		return func(n int) (func(), func(), error) {
			q := typed[T](false, single, "")
			return func() {
				vs := make([]T, group32)
				r, _ := q.Receiver()
				if !handle && r != nil {
					r.Close()
				}
				switch {
				case batch:
					for i := 0; i < n/group32*group32; {
						k, err := r.RecvBatch(ctx, vs)
						must(err)
						i += k
					}
				case handle:
					for range n {
						_, err := r.Recv(ctx)
						must(err)
					}
				default:
					for range n {
						_, err := q.Recv(ctx)
						must(err)
					}
				}
			}, func() { q.Close() }, nil
		}
	}
	n = n / group32 * group32
	if !batch {
		add("queue", n/4, send(false, false), recv(false, false))
		add("queue, Single", n/4, send(true, false), recv(true, false))
	}
	add("queue, Sender and Receiver", n/2, send(false, true), recv(false, true))
	add("queue, Single, Sender and Receiver", n, send(true, true), recv(true, true))
	step := 1
	if batch {
		step = group32
	}
	add("bare ring, spinning", n, func(n int) (func(), func(), error) {
		h, its, done := bare[T](true)
		r, _ := ring.NewSPSC(h, len(its))
		s, err := r.Sender(1, func(uint32) bool { return false })
		return func() {
			var v T
			for i := 0; i < n; {
				at, k, err := s.Reserve(min(step, n-i))
				if err != nil {
					continue
				}
				for j := range k {
					its[at+j] = v
				}
				s.Publish(k)
				i += k
			}
		}, done, err
	}, func(n int) (func(), func(), error) {
		h, its, done := bare[T](false)
		r, _ := ring.NewSPSC(h, len(its))
		c, err := r.Receiver(1, func(uint32) bool { return false })
		return func() {
			vs := make([]T, step)
			for i := 0; i < n; {
				at, k, err := c.Peek(step)
				if err != nil {
					continue
				}
				copy(vs, its[at:at+k])
				c.Release(k)
				i += k
			}
		}, done, err
	})
	if !batch {
		add("Go channel, one process", n/2, func(n int) (func(), func(), error) {
			c := make(chan T, 4096)
			return func() {
				go func() {
					var v T
					for range n {
						c <- v
					}
				}()
				for range n {
					<-c
				}
			}, nothing, nil
		}, nil)
	}
	stream := func(unix bool) (side, side) {
		return func(n int) (func(), func(), error) {
				f := conduit(unix)
				return func() {
					b := make([]byte, size*step)
					for i := 0; i < n; i += step {
						_, err := f.Write(b)
						must(err)
					}
				}, func() { f.Close() }, nil
			}, func(n int) (func(), func(), error) {
				f := inherited(unix)
				return func() {
					b := make([]byte, size*step)
					for i := 0; i < n/step*step; i += step {
						_, err := io.ReadFull(f, b)
						must(err)
					}
				}, nothing, nil
			}
	}
	h, t := stream(true)
	add("Unix socket", n/16, h, t)
	h, t = stream(false)
	add("pipe", n/16, h, t)
	return all
}

// conduit makes a socket pair or a pipe; the child inherits the other end.
func conduit(unix bool) io.ReadWriteCloser {
	if !unix {
		r, w, err := os.Pipe()
		must(err)
		extra = []*os.File{r}
		return w
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(err)
	extra = []*os.File{os.NewFile(uintptr(fds[1]), "")}
	f := os.NewFile(uintptr(fds[0]), "")
	defer f.Close()
	c, err := net.FileConn(f)
	must(err)
	return c
}

func inherited(unix bool) io.ReadWriteCloser {
	f := os.NewFile(3, "")
	if !unix {
		return f
	}
	defer f.Close()
	c, err := net.FileConn(f)
	must(err)
	return c
}

// bare is a ring without anything around it.
func bare[T any](here bool) (*ring.SPSCHeader, []T, func()) {
	const n = 4096
	open := func() (*shmem.Segment, error) { return shmem.AttachSegment(*base+"bare", nil) }
	if here {
		open = func() (*shmem.Segment, error) {
			return shmem.CreateSegment(*base+"bare", 1024+n*mem.SizeOf[T](), nil)
		}
	}
	s, err := open()
	must(err)
	m := segment.Shmem.Attachment(s).Mapping()
	h, err := mem.At[ring.SPSCHeader](m, 0)
	must(err)
	its, err := mem.SliceAt[T](m, 1024, n)
	must(err)
	return h, its, func() { s.Close() }
}

func trips() (all []bench) {
	const group = "round trip"
	add := func(name string, n int, here, there side) {
		all = append(all, bench{group: group, name: name, n: n, here: here, there: there, alone: there == nil})
	}
	for _, single := range []bool{true, false} {
		for _, spin := range []bool{false, true} {
			name, n := "queue", 20_000
			if single {
				name += ", Single"
			}
			if spin {
				name += ", TryRecv in a loop"
				n = 100_000
			}
			make := func(here bool) side {
				return func(n int) (func(), func(), error) {
					a, b := typed[small](here, single, "a"), typed[small](here, single, "b")
					if !here {
						a, b = b, a
					}
					return func() {
						s, err := a.Sender()
						must(err)
						r, err := b.Receiver()
						must(err)
						get := func() small { v, err := r.Recv(ctx); must(err); return v }
						if spin {
							get = func() small {
								for {
									if v, err := r.TryRecv(); err == nil {
										return v
									}
								}
							}
						}
						for range n {
							if here {
								must(s.Send(ctx, small{}))
								get()
							} else {
								must(s.Send(ctx, get()))
							}
						}
					}, func() { a.Close(); b.Close() }, nil
				}
			}
			add(name, n, make(true), make(false))
		}
	}
	words := func(here bool) ([]atomic.Uint32, func()) {
		open := func() (*shmem.Segment, error) { return shmem.AttachSegment(*base+"words", nil) }
		if here {
			open = func() (*shmem.Segment, error) { return shmem.CreateSegment(*base+"words", 4096, nil) }
		}
		s, err := open()
		must(err)
		w, err := mem.SliceAt[atomic.Uint32](segment.Shmem.Attachment(s).Mapping(), 0, 256)
		must(err)
		return w, func() { s.Close() }
	}
	for _, spin := range []bool{false, true} {
		name, n := "bare futex ping-pong", 20_000
		if spin {
			name, n = "bare cache line bounce", 200_000
		}
		make := func(here bool) side {
			return func(n int) (func(), func(), error) {
				w, done := words(here)
				mine, other := &w[0], &w[64]
				if !here {
					mine, other = other, mine
				}
				return func() {
					for i := range uint32(n) {
						say := func() {
							mine.Store(i + 1)
							if !spin {
								mem.FutexWake(mine)
							}
						}
						if here {
							say()
						}
						for other.Load() != i+1 {
							if !spin {
								mem.FutexWait(other, i, time.Second)
							}
						}
						if !here {
							say()
						}
					}
				}, done, nil
			}
		}
		add(name, n, make(true), make(false))
	}
	add("Unix socket", 20_000, func(n int) (func(), func(), error) {
		c := conduit(true)
		return func() {
			b := make([]byte, 8)
			for range n {
				_, err := c.Write(b)
				must(err)
				_, err = io.ReadFull(c, b)
				must(err)
			}
		}, func() { c.Close() }, nil
	}, func(n int) (func(), func(), error) {
		c := inherited(true)
		return func() {
			b := make([]byte, 8)
			for range n {
				_, err := io.ReadFull(c, b)
				must(err)
				_, err = c.Write(b)
				must(err)
			}
		}, nothing, nil
	})
	return all
}

// lengths are messages of bytes.
func lengths(size int) (all []bench) {
	group := fmt.Sprintf("messages of %d bytes", size)
	n := min(400_000, max(2000, (1<<29)/size))
	open := func(here, single bool) *queue.Bytes {
		o := &queue.BytesOptions{Bytes: max(1<<20, 16*size), Capacity: 1024, Single: single}
		open := queue.AttachBytes
		if here {
			open = queue.CreateBytes
		}
		q, err := open(*base, o)
		must(err)
		return q
	}
	for _, single := range []bool{true, false} {
		for _, place := range []bool{false, true} {
			name := "Bytes"
			if single {
				name += ", Single"
			}
			name += map[bool]string{false: ", copied", true: ", in place"}[place]
			m := n
			if place {
				m = max(n, 100_000) // nothing is copied: the cost should not depend on the size
			}
			all = append(all, bench{group: group, name: name, n: m, bytes: size,
				here: func(n int) (func(), func(), error) {
					q := open(true, single)
					return func() {
						b := make([]byte, size)
						f := func(b []byte) error { b[0]++; return nil }
						for range n {
							if place {
								must(q.SendFunc(ctx, size, f))
							} else {
								must(q.Send(ctx, b))
							}
						}
					}, func() { q.Close() }, nil
				},
				there: func(n int) (func(), func(), error) {
					q := open(false, single)
					return func() {
						buf := make([]byte, 0, size)
						sum := byte(0)
						f := func(b []byte) error { sum += b[0]; return nil }
						for range n {
							if place {
								must(q.RecvFunc(ctx, f))
							} else {
								var err error
								buf, err = q.Recv(ctx, buf[:0])
								must(err)
							}
						}
					}, func() { q.Close() }, nil
				}})
		}
	}
	return append(all, bench{group: group, name: "Unix socket", n: n / 4, bytes: size,
		here: func(n int) (func(), func(), error) {
			c := conduit(true)
			return func() {
				b := make([]byte, size)
				for range n {
					_, err := c.Write(b)
					must(err)
				}
			}, func() { c.Close() }, nil
		},
		there: func(n int) (func(), func(), error) {
			c := inherited(true)
			return func() {
				b := make([]byte, size)
				for range n {
					_, err := io.ReadFull(c, b)
					must(err)
				}
			}, nothing, nil
		}})
}

// topics is what publishing costs with so many subscribers.
func topics(subs int) bench {
	open := func(here bool) *topic.Topic[line] {
		open := topic.Attach[line]
		if here {
			open = topic.Create[line]
		}
		t, err := open(*base, &topic.Options{Capacity: 4096})
		must(err)
		return t
	}
	return bench{group: "publishing 64 bytes, the publisher alone", name: fmt.Sprintf("%d subscribers", subs), n: 1_000_000, ownCPU: true,
		here: func(n int) (func(), func(), error) {
			t := open(true)
			return func() {
				for range n {
					must(t.Publish(ctx, line{}))
				}
				must(t.End())
			}, func() { t.Close() }, nil
		},
		there: func(n int) (func(), func(), error) {
			t := open(false)
			var all []*topic.Subscription[line]
			for range subs {
				s, err := t.Subscribe(topic.Now)
				must(err)
				all = append(all, s)
			}
			return func() {
				var wg sync.WaitGroup
				for _, s := range all {
					wg.Go(func() {
						for _, err := range s.All(ctx) {
							must(err)
						}
					})
				}
				wg.Wait()
			}, func() { t.Close() }, nil
		}}
}
