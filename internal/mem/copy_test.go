package mem

import (
	"bytes"
	"fmt"
	"testing"
)

// TestCopy copies lengths around those at which the method changes, at every offset in a word.
func TestCopy(t *testing.T) {
	src := make([]byte, 3*4096)
	for i := range src {
		src[i] = byte(i*7 + i>>8)
	}
	dst := make([]byte, len(src))
	for _, n := range []int{0, 1, 63, 64, 2047, 2048, 2049, 4096, 8191} {
		for off := range 9 {
			clear(dst)
			Copy(dst[off:off+n], src[1:1+n])
			if !bytes.Equal(dst[off:off+n], src[1:1+n]) {
				t.Fatalf("%d bytes to %d differ", n, off)
			}
			if i := bytes.IndexFunc(append(dst[:off:off], dst[off+n:]...), func(r rune) bool { return r != 0 }); i >= 0 {
				t.Fatalf("%d bytes to %d: byte %d of the others was written", n, off, i)
			}
		}
	}
}

func TestCopySlice(t *testing.T) {
	type pair [2]uint64
	src := make([]pair, 500)
	for i := range src {
		src[i] = pair{uint64(i), ^uint64(i)}
	}
	for _, n := range []int{0, 1, 127, 128, 129, 500} {
		dst := make([]pair, 500)
		CopySlice(dst[:n], src)
		for i, p := range dst {
			if want := src[i]; i < n && p != want || i >= n && p != (pair{}) {
				t.Fatalf("%d of 500: item %d is %v", n, i, p)
			}
		}
	}
	type large [4096]byte
	a, b := large{1, 2, 4095: 3}, large{}
	Assign(&b, &a)
	if a != b {
		t.Error("Assign of 4 KiB differs")
	}
}

// BenchmarkCopy copies to memory that is in this core's cache. bench/queues measures between two
// cores.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1 << 10, 4 << 10, 64 << 10} {
		src, dst := make([]byte, n), make([]byte, n)
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(n))
			for range b.N {
				Copy(dst, src)
			}
		})
	}
}
