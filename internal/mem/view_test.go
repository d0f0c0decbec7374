package mem

import "testing"

// TestViewsOfLargeTypesAllocateNothing: a view of a large type costs no memory.
func TestViewsOfLargeTypesAllocateNothing(t *testing.T) {
	type large [64 << 20]byte
	m := &Mapping{length: 128 << 20, payload: 128 << 20}
	n := testing.AllocsPerRun(10, func() {
		_, err1 := At[large](m, 0)
		_, err2 := Control[large](m, 0)
		_, err3 := SliceAt[large](m, 0, 0)
		_, err4 := ControlSlice[large](m, 0, 0)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || SizeOf[large]() != 64<<20 {
			t.Fatal(err1, err2, err3, err4)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
