package ring

import (
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// A producer is killed before each access to shared memory of a Claim, in rings of few slots: the
// next one goes on.
func TestMPMCBytesKilledMeasuring(t *testing.T) {
	defer func() { access.Hook = nil }()
	for n := 1; n <= 3; n++ {
		for kill := 1; kill < 32; kill++ {
			r, err := NewMPMCBytes(new(MPMCBytesHeader), make([]atomic.Uint64, n), make([]Extent, n), 24)
			if err != nil {
				t.Fatal(err)
			}
			for i, size := range []int{15, 24, 3, 24, 8, 0, 24, 17, 24} {
				func() {
					defer func() { _ = recover() }()
					step := 0
					access.Hook = func(string, *atomic.Uint64) {
						if step++; step == kill {
							panic("killed")
						}
					}
					_, _, _ = r.Claim(1, 24-size)
				}()
				access.Hook = nil
				r.Repair(func(id uint32) bool { return id != 1 })
				r.q.Sweep()
				pos, off, err := r.Claim(2, size)
				if err != nil || off+size > 24 {
					t.Fatalf("%d slots, killed at step %d, message %d of %d bytes: at %d, %v", n, kill, i, size, off, err)
				}
				if err := r.Publish(2, pos); err != nil {
					t.Fatal(err)
				}
				if p, _, err := take(r, 3); p != pos || err != nil {
					t.Fatalf("took %d, %v; want %d", p, err, pos)
				}
				if o, k, err := r.Message(pos); o != off || k != size || err != nil {
					t.Fatalf("message at %d of %d bytes, %v; want %d, %d", o, k, err, off, size)
				}
				if err := r.q.releaseAny(3, pos); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
