package ring

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Several goroutines use one ring, and the race detector watches the items.
func TestMPMCStress(t *testing.T) {
	const producers, consumers = 3, 3
	each := 20_000
	if long {
		each = 2_000_000
	}
	for _, n := range []int{1, 3, 64} {
		var h MPMCHeader
		slots, _ := SlotsEvery(make([]atomic.Uint64, n*(1+n%2)), 1+n%2)
		r, _ := NewMPMC(&h, slots)
		items := make([][2]uint64, n)
		var wg, cg sync.WaitGroup
		for p := range producers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(p)))
				for v := 0; v < each; {
					pos, k, err := r.ClaimN(uint32(1024+p), min(1+rnd.IntN(4), each-v))
					if err != nil {
						runtime.Gosched()
						continue
					}
					for j := range uint64(k) {
						x := uint64(p)<<32 | uint64(v)
						items[r.Index(pos+j)] = [2]uint64{x, ^x}
						v++
					}
					r.PublishN(uint32(1024+p), pos, k)
				}
			})
		}
		var got [producers]atomic.Int64
		for c := range consumers {
			cg.Go(func() {
				rnd := rand.New(rand.NewPCG(2, uint64(c)))
				last := [producers]int{-1, -1, -1}
				self := uint32(2048 + c)
				for {
					pos, k, again, err := r.takeN(self, 1+rnd.IntN(4))
					if err == ErrClosed {
						return
					}
					if err != nil {
						runtime.Gosched()
						continue
					}
					for j := range uint64(k) {
						x := items[r.Index(pos+j)]
						p, v := x[0]>>32, int(uint32(x[0]))
						if x[1] != ^x[0] || v <= last[p] && !again {
							t.Errorf("got %x, last %d", x, last[p])
						}
						if rnd.IntN(50) == 0 {
							_ = r.returnAny(self, pos+j)
							continue
						}
						last[p] = max(last[p], v)
						got[p].Add(int64(v) + 1)
						_ = r.releaseAny(self, pos+j)
					}
				}
			})
		}
		wg.Wait()
		r.Close()
		cg.Wait()
		for p := range got {
			if want := int64(each) * int64(each+1) / 2; got[p].Load() != want {
				t.Errorf("%d slots, producer %d: sum %d, want %d", n, p, got[p].Load(), want)
			}
		}
	}
}

// message returns a message that shows whether it is consistent.
func message(rnd *rand.Rand, buf []byte, n, seq int) []byte {
	b := buf[:max(n, 12)]
	for i := range b {
		b[i] = byte(seq + i)
	}
	binary.NativeEndian.PutUint64(b, uint64(seq))
	binary.NativeEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}

func whole(b []byte) (seq int, ok bool) {
	if len(b) < 12 {
		return 0, false
	}
	return int(binary.NativeEndian.Uint64(b)), crc32.ChecksumIEEE(b[:len(b)-4]) == binary.NativeEndian.Uint32(b[len(b)-4:])
}

func TestSPSCBytesStress(t *testing.T) {
	for _, size := range []int{64, 256, 4096} {
		var h SPSCHeader
		r, err := NewSPSCBytes(&h, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := r.Sender(1, allAlive)
		c, _ := r.Receiver(2, allAlive)
		count := 20_000
		go func() {
			rnd := rand.New(rand.NewPCG(3, 3))
			buf := make([]byte, size)
			for seq := 0; seq < count; {
				m := message(rnd, buf, rnd.IntN(r.Max()+1), seq)
				p, err := s.Reserve(r.Max())
				if err != nil || rnd.IntN(2) == 0 {
					p, err = s.Reserve(len(m))
				}
				if err != nil {
					s.Publish()
					runtime.Gosched()
					continue
				}
				s.Commit(copy(p, m))
				if seq++; rnd.IntN(3) > 0 {
					s.Publish()
				}
			}
			s.Publish()
			r.Close()
		}()
		seq := 0
		for {
			p, err := c.Next()
			if err == ErrClosed {
				break
			}
			if err == ErrEmpty {
				c.Release()
				runtime.Gosched()
				continue
			}
			if n, ok := whole(p); err != nil || !ok || n != seq {
				t.Fatalf("%d bytes: message %d: %v %v %v", size, seq, n, ok, err)
			}
			seq++
		}
		if seq != count {
			t.Errorf("%d of %d", seq, count)
		}
	}
}

func TestMPMCBytesStress(t *testing.T) {
	for _, shape := range [][2]int{{1, 64}, {4, 128}, {32, 4096}} {
		var h MPMCBytesHeader
		r, err := NewMPMCBytes(&h, make([]atomic.Uint64, shape[0]), make([]Extent, shape[0]), shape[1])
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, shape[1])
		const producers, each = 3, 5_000
		var wg, cg sync.WaitGroup
		for p := range producers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(4, uint64(p)))
				buf := make([]byte, shape[1])
				for seq := 0; seq < each; {
					m := message(rnd, buf, rnd.IntN(r.Size()+1), seq*producers+p)
					pos, off, err := r.Claim(uint32(1024+p), len(m))
					if err != nil {
						if err != ErrFull && err != ErrBusy {
							t.Error(err)
						}
						runtime.Gosched()
						continue
					}
					copy(data[off:off+len(m)], m)
					r.Publish(uint32(1024+p), pos)
					seq++
				}
			})
		}
		var got atomic.Int64
		for c := range 2 {
			cg.Go(func() {
				last := [producers]int{-1, -1, -1}
				for {
					pos, err := r.Take(uint32(2048 + c))
					if err == ErrClosed {
						return
					}
					if err != nil {
						runtime.Gosched()
						continue
					}
					off, n, err := r.Message(pos)
					if err != nil {
						t.Error(err)
						return
					}
					seq, ok := whole(bytes.Clone(data[off : off+n]))
					if !ok || seq <= last[seq%producers] {
						t.Errorf("message %d: whole %v", seq, ok)
					}
					last[seq%producers] = seq
					got.Add(1)
					r.ReleaseFence(uint32(2048+c), pos)
				}
			})
		}
		wg.Wait()
		r.Close()
		cg.Wait()
		if got.Load() != producers*each {
			t.Errorf("%v: got %d", shape, got.Load())
		}
	}
}

func TestBroadcastStress(t *testing.T) {
	var h BroadcastHeader
	const n, each = 64, 50_000
	r, _ := NewBroadcast(&h, make([]atomic.Uint64, n), make([]Hold, 2))
	items := make([][2]atomic.Uint64, n)
	var wg, cg sync.WaitGroup
	held, _ := r.Hold(7)
	for p := range 2 {
		wg.Go(func() {
			pub := r.Publisher(uint32(1024 + p))
			for v := 0; v < each; {
				pos, err := pub.Claim()
				if err != nil {
					runtime.Gosched()
					continue
				}
				it := &items[r.Index(pos)]
				it[0].Store(uint64(p)<<32 | uint64(v))
				it[1].Store(^(uint64(p)<<32 | uint64(v)))
				pub.Publish(pos)
				v++
			}
		})
	}
	follow := func(c *Cursor, hold bool) {
		last := [2]int{-1, -1}
		seen, missed := uint64(0), uint64(0)
		for {
			pos, lost, err := c.Next()
			missed += lost
			if err == ErrClosed {
				break
			}
			if err != nil {
				if err == ErrCorrupt {
					t.Error(err)
					return
				}
				runtime.Gosched()
				continue
			}
			it := &items[r.Index(pos)]
			a, b := it[0].Load(), it[1].Load()
			if c.Done() != nil {
				continue
			}
			p, v := a>>32, int(uint32(a))
			if a != ^b || v <= last[p] {
				t.Errorf("got %x %x, last %d", a, b, last[p])
			}
			last[p] = v
			seen++
		}
		if seen+missed != 2*each || hold && missed > 0 {
			t.Errorf("hold %v: seen %d, missed %d", hold, seen, missed)
		}
		c.Leave()
	}
	cg.Go(func() { follow(held, true) })
	cg.Go(func() { follow(r.From(0), false) })
	wg.Wait()
	r.Close()
	cg.Wait()
}
