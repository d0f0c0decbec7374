package layout

import "testing"

// The hash is part of the format: these values must not change. They were computed by hand from
// docs/format.md, section 9.
func TestBucket(t *testing.T) {
	for off, want := range map[uintptr]int{
		0: 0,
		4: 0x9E3779B1 >> 26,
		8: 0x3C6EF362 >> 26,
		7: 0x9E3779B1 >> 26, // the low two bits do not count
	} {
		if got := Bucket(off); got != want {
			t.Errorf("Bucket(%#x) = %d, want %d", off, got, want)
		}
	}
	seen := map[int]int{}
	for off := uintptr(0); off < 4*Buckets*100; off += 4 {
		b := Bucket(off)
		if b >= Buckets {
			t.Fatalf("Bucket(%#x) = %d, out of %d", off, b, Buckets)
		}
		seen[b]++
	}
	for b, n := range seen {
		if n < 50 || n > 200 {
			t.Errorf("bucket %d has %d of 6400 neighbouring words: the hash does not spread", b, n)
		}
	}
}

func TestArmed(t *testing.T) {
	sizes := map[string]int{
		"psync.Mutex": MutexSize, "psync.RWMutex": RWMutexSize, "psync.Semaphore": SemaphoreSize,
		"psync.Event": EventSize, "psync.Cond": CondSize, "psync.Once": OnceSize,
	}
	for name, size := range sizes {
		all := Armed(name)
		if len(all) == 0 {
			t.Errorf("%s has no armed word", name)
		}
		for _, off := range all {
			if off%4 != 0 || off+4 > size {
				t.Errorf("armed word of %s at %d, out of its %d bytes", name, off, size)
			}
		}
	}
	if Armed("psync.Other") != nil {
		t.Error("a type that does not exist has armed words")
	}
}
