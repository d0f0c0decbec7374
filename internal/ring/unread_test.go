package ring

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// TestUnread: after any calls, with every holder dead, Unread is the number of messages that a new
// receiver gets after Repair.
func TestUnread(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const wordsAt = 1024
	for n := 1; n <= 9; n += 2 {
		for range 400 {
			h, slots, step := new(MPMCHeader), make([]atomic.Uint64, 4*n), 1+3*(n/2%2)
			words, err := SlotsEvery(slots[:step*n], step)
			if err != nil {
				t.Fatal(err)
			}
			q, err := NewMPMC(h, words)
			if err != nil {
				t.Fatal(err)
			}
			scramble(q, r)
			read := func(b []byte, off int64) error {
				clear(b)
				if off < wordsAt {
					binary.NativeEndian.PutUint64(b[tailAt:], h.Tail.Load())
					binary.NativeEndian.PutUint64(b[headAt:], h.Head.Load())
					return nil
				}
				for i := 0; i < len(b); i += 8 {
					binary.NativeEndian.PutUint64(b[i:], slots[(int(off)-wordsAt+i)/8].Load())
				}
				return nil
			}
			for i := range slots { // what is between the words does not count
				if i%step != 0 {
					slots[i].Store(uint64(plain(ready, 1)))
				}
			}
			stored := Stored{Items: uint64(n), Words: wordsAt, Step: uint64(8 * step)}
			got, err := stored.Unread(0, read)
			if err != nil {
				t.Fatal(err)
			}
			some, _ := stored.Unread(1, read)
			want := 0
			none := func(id uint32) bool { return id == 99 }
			for q.Repair(none); ; want++ {
				pos, _, err := take(q, 99)
				if err == ErrHeld {
					q.Repair(none)
					pos, _, err = take(q, 99)
				}
				if err != nil {
					break
				}
				if err := q.releaseAny(99, pos); err != nil {
					t.Fatal(err)
				}
			}
			if got != want || (some > 0) != (want > 0) {
				t.Fatalf("%d slots: %d unread, %d with a limit of 1; %d are received", n, got, some, want)
			}
		}
	}
}

// scramble makes calls of several attachments, some of which are not finished.
func scramble(q *MPMC, r *rand.Rand) {
	type hold struct {
		id  uint32
		pos uint64
	}
	var claims, leases []hold
	for range r.IntN(60) {
		id := uint32(2 + r.IntN(5))
		switch r.IntN(6) {
		case 0, 1:
			if pos, err := q.Claim(id); err == nil {
				claims = append(claims, hold{id, pos})
			}
		case 2:
			if n := len(claims); n > 0 {
				_ = q.Publish(claims[n-1].id, claims[n-1].pos)
				claims = claims[:n-1]
			}
		case 3:
			if n := len(claims); n > 0 {
				_ = q.Cancel(claims[n-1].id, claims[n-1].pos)
				claims = claims[:n-1]
			}
		case 4:
			if pos, _, err := take(q, id); err == nil {
				leases = append(leases, hold{id, pos})
			}
		case 5:
			if n := len(leases); n > 0 {
				if l := leases[n-1]; r.IntN(2) == 0 {
					_ = q.releaseAny(l.id, l.pos)
				} else {
					_ = q.returnAny(l.id, l.pos)
				}
				leases = leases[:n-1]
			}
		}
	}
}
