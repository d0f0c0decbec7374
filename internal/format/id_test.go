package format

import "testing"

func TestID(t *testing.T) {
	for _, gen := range []uint32{1, 2, 1 << 20, GenMask} {
		for _, slot := range []uint32{0, 1, 2, 1023} {
			id := MakeID(gen, slot)
			if id.Gen() != gen || id.Slot() != slot || uint32(id)&WaitersBit != 0 || id <= Local {
				t.Errorf("MakeID(%d, %d) = %#x", gen, slot, uint32(id))
			}
		}
	}
	if NoID != MakeID(0, 0) || Dead != MakeID(0, 1) || Local != MakeID(0, 2) {
		t.Error("the names of generation 0")
	}
	if id := MakeID(GenMask+1+5, 1024+7); id != MakeID(5, 7) {
		t.Errorf("excess bits: %#x", uint32(id))
	}
	if NextGen(0) != 1 || NextGen(7) != 8 || NextGen(GenMask) != 1 || NextGen(1<<31) != 1 {
		t.Error("NextGen")
	}
}

func TestOwner(t *testing.T) {
	for _, o := range []Owner{{}, {Owned, MakeID(1, 0)}, {Owned, MakeID(GenMask, 1023)}, {State: Kept}, {State: Dropped}, {State: Shared}} {
		if got := OwnerOf(o.Word()); got != o || !got.Valid() {
			t.Errorf("%v: %v", o, got)
		}
	}
	if w := (Owner{Owned, MakeID(3, 4)}).Word(); w != 1<<32|3<<10|4 {
		t.Errorf("%#x", w)
	}
	for _, w := range []uint64{1, 1 << 32, 1<<32 | 2, 1<<32 | 1<<31 | 1<<10, 2<<32 | 1<<10, 3<<32 | 1, 4<<32 | 1<<10, 5 << 32, 1 << 63, ^uint64(0)} {
		if o := OwnerOf(w); o.Valid() || o.Word() != w {
			t.Errorf("%#x: %v", w, o)
		}
	}
}
