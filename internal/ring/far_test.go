package ring

import (
	"math/bits"
	"sync/atomic"
	"testing"
)

// TestBeyond4GiB: rings of bytes of more than 4 GiB carry messages of more than 2 GiB, several times
// round. Only what is written of them takes memory.
func TestBeyond4GiB(t *testing.T) {
	if bits.UintSize < 64 || raceEnabled { // the race detector has memory for all bytes
		return
	}
	unit := 1 << 20 // a variable: the sizes are no constants of 32 bits
	gib := unit << 10
	size := 5*gib + 8*unit
	lens := []int{2*gib + unit, 8, gib + 1, 2 * gib, 0, 3 * unit}
	h := new(MPMCBytesHeader)
	r, err := NewMPMCBytes(h, make([]atomic.Uint64, 4), make([]Extent, 4), size)
	if err != nil {
		t.Fatal(err)
	}
	far := false
	for i := range 6 * len(lens) {
		n := lens[i%len(lens)]
		pos, off, err := r.Claim(1, n)
		if err != nil || off < 0 || off+n > size {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
		far = far || off > 4*gib
		_ = r.Publish(1, pos)
		pos, err = r.Take(2)
		if err != nil {
			t.Fatal(err)
		}
		if at, k, err := r.Message(pos); at != off || k != n || err != nil {
			t.Fatalf("%d bytes at %d, want %d at %d: %v", k, at, n, off, err)
		}
		_ = r.ReleaseFence(2, pos)
	}
	if !far {
		t.Error("no message was beyond 4 GiB")
	}
	farSPSC(t, make([]byte, size), lens)
}

func farSPSC(t *testing.T, data []byte, lens []int) {
	t.Helper()
	r, err := NewSPSCBytes(new(SPSCHeader), data)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := r.Sender(1, allAlive)
	c, _ := r.Receiver(2, allAlive)
	for i := range 4 * len(lens) {
		n := lens[i%len(lens)]
		b, err := s.Reserve(n)
		if err != nil || len(b) < n {
			t.Fatalf("%d bytes: %d, %v", n, len(b), err)
		}
		if n > 0 {
			b[0], b[n-1] = byte(i), byte(i)
		}
		s.Commit(n)
		s.Publish()
		got, err := c.Next()
		if err != nil || len(got) != n || n > 0 && (got[0] != byte(i) || got[n-1] != byte(i)) {
			t.Fatalf("message %d of %d bytes: %d, %v", i, n, len(got), err)
		}
		c.Release()
	}
}

// TestManySlots: a ring of 2^23 slots, and one whose positions are beyond 2^32.
func TestManySlots(t *testing.T) {
	for _, lap := range []uint64{0, 1<<32 + 1} {
		n := 1 << 23
		h, slots := new(MPMCHeader), make([]atomic.Uint64, n)
		h.Tail.Store(lap*uint64(n) + uint64(n) - 3)
		h.Head.Store(lap*uint64(n) + uint64(n) - 3)
		for i := range 8 { // those that are used
			at, l := (n-4+i)%n, lap
			if i > 3 {
				l++
			}
			slots[at].Store(uint64(plain(free, l)))
		}
		r, err := NewMPMC(h, SideBySide(slots))
		if err != nil {
			t.Fatal(err)
		}
		withMarks(r)
		for i := range 6 { // round the end
			pos, err := r.Claim(1)
			if err != nil || r.Index(pos) != (n-3+i)%n {
				t.Fatalf("slot %d of position %d, %v", r.Index(pos), pos, err)
			}
			_ = r.Publish(1, pos)
			if p, _, err := take(r, 2); p != pos || err != nil {
				t.Fatalf("took %d, want %d: %v", p, pos, err)
			}
			if _, back := r.Repair(func(id uint32) bool { return id != 2 }); back != 1 {
				t.Fatalf("%d returned", back)
			}
			if p, again, err := take(r, 3); p != pos || !again || err != nil {
				t.Fatalf("took %d again %v, want %d: %v", p, again, pos, err)
			}
			_ = r.releaseAny(3, pos)
		}
	}
}
