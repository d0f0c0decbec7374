package ring

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
)

func allAlive(uint32) bool { return true }

// TestLayout: the layout is part of the format of segments.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{MPMCHeader{}, "Tail 0 Head 128 Closed 256 Suspects 264 Skipped 272 Returned 280 Settled 288 SendWait 384 SendArmed 388 RecvWait 512 RecvArmed 516 size 640"},
		{MPMCBytesHeader{}, "MPMCHeader 0 Gate 640 Low 648 size 768"},
		{Extent{}, "Start 0 Size 8 size 16"},
		{SPSCHeader{}, "Tail 0 Head 128 Closed 256 Producer 264 Consumer 272 SendWait 384 SendArmed 388 RecvWait 512 RecvArmed 516 size 640"},
		{BroadcastHeader{}, "Tail 0 Closed 128 Skipped 136 Released 144 Used 152 SendWait 256 SendArmed 260 Lost 264 RecvWait 384 RecvArmed 388 size 512"},
		{Hold{}, "ID 0 Cursor 8 size 128"},
	} {
		got, typ := "", reflect.TypeOf(c.v)
		for i := range typ.NumField() {
			if f := typ.Field(i); f.Name != "_" {
				got += fmt.Sprintf("%s %d ", f.Name, f.Offset)
			}
		}
		if got += fmt.Sprintf("size %d", typ.Size()); got != c.want {
			t.Errorf("%v:\n%s, want\n%s", typ, got, c.want)
		}
	}
}

func TestWord(t *testing.T) {
	for _, lap := range []uint64{0, 1, 5, shortMask - 1, shortMask, shortMask + 1, lapMask - 1, lapMask} {
		for _, d := range []int64{-3, -1, 0, 1, 3} {
			p, n := plain(ready, lap+uint64(d)), named(taken, lap+uint64(d), 1<<31-1)
			if p.ahead(lap) != d || n.ahead(lap) != d || p.state() != ready || n.state() != taken || n.id() != 1<<31-1 {
				t.Errorf("lap %x%+d: %x %x ahead %d %d", lap, d, p, n, p.ahead(lap), n.ahead(lap))
			}
			if r := n.rename(skipped, 7); r != named(skipped, lap+uint64(d), 7) {
				t.Errorf("renamed %x", r)
			}
		}
	}
}

// startAt returns a ring that has been round so often.
func startAt(n int, lap uint64) *MPMC {
	h, slots := &MPMCHeader{}, make([]atomic.Uint64, n)
	for i := range slots {
		slots[i].Store(uint64(plain(free, lap)))
	}
	h.Tail.Store(lap * uint64(n))
	h.Head.Store(lap * uint64(n))
	r, _ := NewMPMC(h, SideBySide(slots))
	return r
}

func TestMPMCLapWrap(t *testing.T) {
	for _, lap := range []uint64{shortMask - 1, 1<<29 - 1, 5*(shortMask+1) - 1} {
		for _, n := range []int{1, 2, 3} {
			r := startAt(n, lap)
			first := r.h.Tail.Load()
			for j := range uint64(4 * n) {
				for range n { // full, each in turn; a dead consumer's comes again
					if _, err := r.Claim(5); err != nil {
						t.Fatalf("lap %x: %v", lap, err)
					}
				}
				if _, err := r.Claim(5); err != ErrFull {
					t.Fatalf("lap %x: %v", lap, err)
				}
				base := first + j*uint64(n)
				if err := r.PublishN(5, base, n); err != nil {
					t.Fatal(err)
				}
				for k := range uint64(n) {
					if pos, _, err := take(r, 6); pos != base+k || err != nil {
						t.Fatalf("took %d, want %d: %v", pos, base+k, err)
					}
				}
				if _, back := r.Repair(func(id uint32) bool { return id != 6 }); back != n {
					t.Fatalf("%d returned", back)
				}
				for k := range uint64(n) {
					pos, again, err := take(r, 7)
					if pos != base+k || err != nil || !again {
						t.Fatalf("took %d again, want %d: %v", pos, base+k, err)
					}
					_ = r.releaseAny(7, pos)
				}
			}
		}
	}
}

func TestMPMCCorrupt(t *testing.T) {
	for _, v := range []uint64{1 << 40, 17, 1<<62 + 9} {
		r := startAt(4, 0)
		r.h.Tail.Store(v)
		if _, err := r.Claim(1); err != ErrCorrupt {
			t.Errorf("tail %x: %v", v, err)
		}
		r.h.Head.Store(v)
		if _, _, err := take(r, 1); err != ErrCorrupt {
			t.Errorf("head %x: %v", v, err)
		}
	}
	r := startAt(4, 0)
	r.slot(0).Store(ready<<stateShift | 5)
	if _, err := r.Claim(1); err != ErrCorrupt {
		t.Errorf("lap 5: %v", err)
	}
	if _, _, err := take(r, 1); err != ErrCorrupt {
		t.Errorf("lap 5: %v", err)
	}
}

func TestMPMCStuck(t *testing.T) {
	r := startAt(2, 0)
	pos, _ := r.Claim(11)
	if p, c := r.Stuck(); p != 11 || c != 0 {
		t.Error(p, c)
	}
	if _, _, err := take(r, 1); err != ErrHeld {
		t.Error(err)
	}
	r.Publish(11, pos)
	r.Take(12)
	pos, _ = r.Claim(11)
	r.Publish(11, pos)
	if p, c := r.Stuck(); p != 0 || c != 12 {
		t.Error(p, c)
	}
	r.Close()
	pos, _, _ = take(r, 1)
	_ = r.releaseAny(1, pos)
	if _, _, err := take(r, 1); err != ErrHeld { // 12 may return it
		t.Error(err)
	}
	if err := r.ReleaseFence(13, 0); err != ErrNotHeld {
		t.Error(err)
	}
	r.Repair(func(id uint32) bool { return id != 12 })
	pos, again, err := take(r, 1)
	if pos != 0 || !again || err != nil {
		t.Error(pos, again, err)
	}
	_ = r.releaseAny(1, pos)
	if _, _, err := take(r, 1); err != ErrClosed {
		t.Error(err)
	}
	if s := r.Stats(); s.Returned != 1 || s.Sent != 2 || s.Leased != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSPSCEnds(t *testing.T) {
	var h SPSCHeader
	r, _ := NewSPSC(&h, 2)
	s, err := r.Sender(1, allAlive)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint32{1, 2} {
		if _, err := r.Sender(id, allAlive); err != ErrOccupied {
			t.Error(err)
		}
	}
	c, _ := r.Receiver(1, allAlive)
	if _, _, err := c.Peek(1); err != ErrEmpty {
		t.Error(err)
	}
	s.Reserve(2)
	s.Publish(2)
	if _, _, err := s.Reserve(1); err != ErrFull {
		t.Error(err)
	}
	s.Leave()
	if s, err = r.Sender(2, allAlive); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, _, err := s.Reserve(1); err != ErrClosed {
		t.Error(err)
	}
	if _, k, err := c.Peek(5); k != 2 || err != nil {
		t.Error(k, err)
	}
	c.Release(2)
	if _, _, err := c.Peek(1); err != ErrClosed {
		t.Error(err)
	}
	h.Tail.Store(1 << 33)
	if _, _, err := c.Peek(1); err != ErrCorrupt {
		t.Error(err)
	}
	if _, err := r.Receiver(3, func(uint32) bool { return false }); err != ErrCorrupt {
		t.Error(err)
	}
}

func TestTooBig(t *testing.T) {
	b, _ := NewSPSCBytes(&SPSCHeader{}, make([]byte, 64))
	s, _ := b.Sender(1, allAlive)
	if _, err := s.Reserve(b.Max() + 1); err != ErrTooBig {
		t.Error(err)
	}
	m, _ := NewMPMCBytes(&MPMCBytesHeader{}, make([]atomic.Uint64, 2), make([]Extent, 2), 64)
	if _, _, err := m.Claim(1, 65); err != ErrTooBig {
		t.Error(err)
	}
	for range 10 { // the largest fits wherever the one before it ended
		for _, n := range []int{9, 64} {
			pos, _, err := m.Claim(1, n)
			if err != nil {
				t.Fatal(err)
			}
			m.Publish(1, pos)
			m.Take(1)
			m.ReleaseFence(1, pos)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	r := startAt(8, 0)
	var sh SPSCHeader
	sp, _ := NewSPSC(&sh, 8)
	s, _ := sp.Sender(1, allAlive)
	c, _ := sp.Receiver(1, allAlive)
	var bh MPMCBytesHeader
	mb, _ := NewMPMCBytes(&bh, make([]atomic.Uint64, 8), make([]Extent, 8), 64)
	var ch BroadcastHeader
	bc, _ := NewBroadcast(&ch, make([]atomic.Uint64, 8), make([]Hold, 1))
	pub, cur := bc.Publisher(1), bc.From(0)
	if n := testing.AllocsPerRun(100, func() {
		pos, _ := r.Claim(1)
		r.Publish(1, pos)
		pos, _, _ = take(r, 1)
		_ = r.releaseAny(1, pos)
		r.Take(1)
		r.Repair(allAlive)
		s.Reserve(1)
		s.Publish(1)
		c.Peek(1)
		c.Release(1)
		pos, _, _ = mb.Claim(1, 9)
		mb.Publish(1, pos)
		mb.Take(1)
		mb.ReleaseFence(1, pos)
		pos, _ = pub.Claim()
		pub.Publish(pos)
		cur.Next()
		cur.Done()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
