package ring

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/access"
)

type item8 = uint64
type item64 = [8]uint64

const benchSlots = 4096

// spin waits without touching the ring, longer every time. So the ring's cache lines stay with the
// other side, which gets ahead by a batch. Then it yields the processor. n is 0 again after a
// success.
func spin(n *int) {
	if *n++; *n > 7 {
		runtime.Gosched()
		return
	}
	x := uint32(*n)
	for range 32 << *n {
		x = x*1664525 + 1013904223
	}
	spinSink.Store(x)
}

var spinSink atomic.Uint32

func benchMPMC[T any](b *testing.B, producers, consumers, batch int) {
	var h MPMCHeader
	slots := make([]atomic.Uint64, benchSlots)
	items := make([]T, benchSlots)
	r, _ := NewMPMC(&h, SideBySide(slots))
	b.ReportAllocs()
	start := cpuTime()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			var v T
			self := uint32(1024 + p)
			total := b.N / producers
			if p == 0 {
				total += b.N % producers
			}
			s := 0
			for n := 0; n < total; {
				pos, k, err := r.ClaimN(self, min(batch, total-n))
				if err != nil {
					spin(&s)
					continue
				}
				for j := range k {
					items[r.Index(pos+uint64(j))] = v
				}
				if k == 1 {
					r.Publish(self, pos)
				} else {
					r.PublishN(self, pos, k)
				}
				n, s = n+k, 0
			}
		})
	}
	var cg sync.WaitGroup
	for c := range consumers {
		cg.Go(func() {
			self := uint32(2048 + c)
			var sum T
			s := 0
			for {
				pos, k, err := r.TakeN(self, batch)
				if err != nil {
					if errors.Is(err, ErrClosed) {
						break
					}
					spin(&s)
					continue
				}
				for j := range k {
					sum = items[r.Index(pos+uint64(j))]
				}
				if batch == 1 {
					err = r.ReleaseFence(self, pos)
				} else {
					err = r.ReleaseN(self, pos, k)
				}
				if err != nil {
					b.Error(err)
				}
				s = 0
			}
			_ = sum
		})
	}
	wg.Wait()
	r.Close()
	cg.Wait()
	rate(b, start)
}

// benchNext is benchMPMC with ClaimNext and TakeNext, and with the word of a slot beside its item.
func benchNext(b *testing.B, producers, consumers int) {
	var h MPMCHeader
	words := make([]atomic.Uint64, 2*benchSlots)
	slots, _ := SlotsEvery(words, 2)
	r, _ := NewMPMC(&h, slots)
	start := cpuTime()
	var wg, cg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			total := (b.N + p) / producers
			for n, s := 0, 0; n < total; {
				next, ok := r.ClaimNext(uint32(1024 + p))
				if !ok {
					spin(&s)
					continue
				}
				access.Release("value", &words[2*next.Index+1], uint64(n))
				_ = r.PublishNext(next)
				_ = r.RoomAhead(next.Pos)
				n, s = n+1, 0
			}
		})
	}
	for c := range consumers {
		cg.Go(func() {
			sum := uint64(0)
			for s := 0; ; {
				next, ok := r.TakeNext(uint32(2048 + c))
				if ok {
					sum += words[2*next.Index+1].Load()
					_ = r.ReleaseNext(next)
					_ = r.MessageAhead(next.Pos)
					s = 0
					continue
				}
				pos, err := r.Take(uint32(2048 + c))
				if err == ErrClosed {
					return
				}
				if err == nil {
					_ = r.ReleaseFence(uint32(2048+c), pos)
				}
				spin(&s)
			}
		})
	}
	wg.Wait()
	r.Close()
	cg.Wait()
	rate(b, start)
}

// rate reports messages by the clock and, for a shared machine, the processor time of one message,
// of both sides together.
func rate(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}

func BenchmarkMPMC(b *testing.B) {
	b.Run("8B/1to1", func(b *testing.B) { benchMPMC[item8](b, 1, 1, 1) })
	b.Run("8B/1to1/batch32", func(b *testing.B) { benchMPMC[item8](b, 1, 1, 32) })
	b.Run("8B/2to2", func(b *testing.B) { benchMPMC[item8](b, 2, 2, 1) })
	b.Run("64B/1to1", func(b *testing.B) { benchMPMC[item64](b, 1, 1, 1) })
	b.Run("8B/4to4", func(b *testing.B) { benchMPMC[item8](b, 4, 4, 1) })
	b.Run("8B/1to1/next", func(b *testing.B) { benchNext(b, 1, 1) })
	b.Run("8B/2to2/next", func(b *testing.B) { benchNext(b, 2, 2) })
	b.Run("8B/4to4/next", func(b *testing.B) { benchNext(b, 4, 4) })
	b.Run("64B/1to1/batch32", func(b *testing.B) { benchMPMC[item64](b, 1, 1, 32) })
}

// One goroutine: only the instructions count.
func BenchmarkMPMCAlone(b *testing.B) {
	var h MPMCHeader
	r, _ := NewMPMC(&h, SideBySide(make([]atomic.Uint64, benchSlots)))
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		next, _ := r.ClaimNext(1024)
		_ = r.PublishNext(next)
		next, _ = r.TakeNext(1024)
		_ = r.ReleaseNext(next)
	}
	rate(b, start)
}

func benchChan[T any](b *testing.B, producers, consumers int) {
	c := make(chan T, benchSlots)
	start := cpuTime()
	var wg, cg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			var v T
			total := b.N / producers
			if p == 0 {
				total += b.N % producers
			}
			for range total {
				c <- v
			}
		})
	}
	for range consumers {
		cg.Go(func() {
			for range c {
			}
		})
	}
	wg.Wait()
	close(c)
	cg.Wait()
	rate(b, start)
}

func BenchmarkChan(b *testing.B) {
	b.Run("8B/1to1", func(b *testing.B) { benchChan[item8](b, 1, 1) })
	b.Run("8B/2to2", func(b *testing.B) { benchChan[item8](b, 2, 2) })
	b.Run("64B/1to1", func(b *testing.B) { benchChan[item64](b, 1, 1) })
}

func benchSPSC[T any](b *testing.B, batch int, fence bool) {
	var h SPSCHeader
	items := make([]T, benchSlots)
	r, _ := NewSPSC(&h, benchSlots)
	snd, _ := r.Sender(1024, allAlive)
	rcv, _ := r.Receiver(2048, allAlive)
	b.ReportAllocs()
	start := cpuTime()
	var wg sync.WaitGroup
	wg.Go(func() {
		var v T
		s := 0
		for n := 0; n < b.N; {
			i, k, err := snd.Reserve(min(batch, b.N-n))
			if err != nil {
				spin(&s)
				continue
			}
			for j := range items[i : i+k] {
				items[i+j] = v
			}
			if fence {
				snd.PublishFence(k)
			} else {
				snd.Publish(k)
			}
			n, s = n+k, 0
		}
	})
	var sum T
	s := 0
	for n := 0; n < b.N; {
		i, k, err := rcv.Peek(batch)
		if err != nil {
			spin(&s)
			continue
		}
		for _, v := range items[i : i+k] {
			sum = v
		}
		if fence {
			rcv.ReleaseFence(k)
		} else {
			rcv.Release(k)
		}
		n, s = n+k, 0
	}
	_ = sum
	wg.Wait()
	rate(b, start)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSPSC(b *testing.B) {
	b.Run("8B", func(b *testing.B) { benchSPSC[item8](b, 1, false) })
	b.Run("8B/fence", func(b *testing.B) { benchSPSC[item8](b, 1, true) })
	b.Run("8B/batch32", func(b *testing.B) { benchSPSC[item8](b, 32, false) })
	b.Run("8B/batch32/fence", func(b *testing.B) { benchSPSC[item8](b, 32, true) })
	b.Run("64B", func(b *testing.B) { benchSPSC[item64](b, 1, false) })
	b.Run("64B/fence", func(b *testing.B) { benchSPSC[item64](b, 1, true) })
	b.Run("64B/batch32", func(b *testing.B) { benchSPSC[item64](b, 32, false) })
}

func BenchmarkSPSCBytes64(b *testing.B) {
	var h SPSCHeader
	r, _ := NewSPSCBytes(&h, make([]byte, 1<<20))
	snd, _ := r.Sender(1024, allAlive)
	rcv, _ := r.Receiver(2048, allAlive)
	msg := make([]byte, 64)
	b.ReportAllocs()
	start := cpuTime()
	var wg sync.WaitGroup
	wg.Go(func() {
		s := 0
		for n := 0; n < b.N; {
			p, err := snd.Reserve(len(msg))
			if err != nil {
				spin(&s)
				continue
			}
			copy(p, msg)
			snd.Commit(len(msg))
			snd.Publish()
			n, s = n+1, 0
		}
	})
	s, got := 0, make([]byte, 64)
	for n := 0; n < b.N; {
		p, err := rcv.Next()
		if err != nil {
			rcv.Release()
			spin(&s)
			continue
		}
		copy(got, p)
		if n, s = n+1, 0; n%32 == 0 {
			rcv.Release()
		}
	}
	wg.Wait()
	rate(b, start)
}

func BenchmarkMPMCBytes64(b *testing.B) {
	var h MPMCBytesHeader
	r, _ := NewMPMCBytes(&h, make([]atomic.Uint64, benchSlots), make([]Extent, benchSlots), 1<<20)
	data := make([]byte, 1<<20)
	msg := make([]byte, 64)
	b.ReportAllocs()
	start := cpuTime()
	var wg sync.WaitGroup
	wg.Go(func() {
		s := 0
		for n := 0; n < b.N; {
			pos, off, err := r.Claim(1024, len(msg))
			if err != nil {
				spin(&s)
				continue
			}
			copy(data[off:], msg)
			r.Publish(1024, pos)
			n, s = n+1, 0
		}
	})
	s, got := 0, make([]byte, 64)
	for n := 0; n < b.N; {
		pos, err := r.Take(2048)
		if err != nil {
			spin(&s)
			continue
		}
		off, size, _ := r.Message(pos)
		copy(got, data[off:off+size])
		r.ReleaseFence(2048, pos)
		n++
	}
	wg.Wait()
	rate(b, start)
}

func BenchmarkBroadcastPublish(b *testing.B) {
	for _, holds := range []int{0, 1, 64} {
		b.Run([]string{0: "free", 1: "1 hold", 64: "64 holds"}[holds], func(b *testing.B) {
			var h BroadcastHeader
			r, _ := NewBroadcast(&h, make([]atomic.Uint64, benchSlots), make([]Hold, holds))
			p := r.Publisher(1024)
			var cs []*Cursor
			for range holds {
				c, _ := r.Hold(1024)
				cs = append(cs, c)
			}
			b.ReportAllocs()
			for b.Loop() {
				pos, err := p.Claim()
				if err != nil {
					for _, c := range cs {
						for {
							if _, _, err := c.Next(); err != nil {
								break
							}
							c.Done()
						}
					}
					continue
				}
				p.Publish(pos)
			}
		})
	}
}
