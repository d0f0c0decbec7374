package main

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestStatic: built without cgo the program needs no library and no loader.
func TestStatic(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "shmem")
	c := exec.Command("go", "build", "-o", bin, ".")
	c.Env = append(c.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
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
