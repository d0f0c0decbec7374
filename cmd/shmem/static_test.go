package main

import (
	"debug/elf"
	"testing"
)

// TestStatic: built without cgo the program needs no library and no loader.
func TestStatic(t *testing.T) {
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it is linked dynamically")
		}
	}
}
