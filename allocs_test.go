//go:build !race

package shmem_test

import (
	"context"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// TestNoAllocationsBeside is TestNoAllocations for calls that programs make less often.
func TestNoAllocationsBeside(t *testing.T) {
	box, err := shmem.Open[page]("box", &shmem.Options{Dir: shmemtest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	inc := func(p *page) error { p.N++; return nil }
	b, s, ctx := make([]byte, 64), box.Segment(), context.Background()
	for name, f := range map[string]func(){
		"View":          func() { box.View(ctx, inc) },
		"Update":        func() { box.Update(ctx, inc) },
		"Store":         func() { box.Store(ctx, loaded) },
		"Version, Wait": func() { v := box.Version(); box.Update(ctx, inc); box.Wait(ctx, v) },
		"ReadAt":        func() { s.ReadAt(b, 8) },
		"WriteAt":       func() { s.WriteAt(b, 8) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
