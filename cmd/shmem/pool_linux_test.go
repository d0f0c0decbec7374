package main

import (
	"strings"
	"testing"

	"github.com/shmembox/shmem/blob"
)

// TestPool: ls and stat know a pool of buffers.
func TestPool(t *testing.T) {
	dir, bin := interruptible(t)
	p, err := blob.Open("images", &blob.Options{
		Dir: dir, Classes: []blob.Class{{Size: 1024, Count: 3}, {Size: 1 << 20, Count: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b, err := p.TryTake(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ls"}, "blob.Pool"},
		{[]string{"stat", "images"}, "0 of 3 of 1024B, 1 of 2 of 1.0M in use; pid "},
		{[]string{"stat", "--json", "images"}, `"used": 1`},
		{[]string{"check"}, ""},
	} {
		code, out, _ := runIn(t, bin, dir, c.args...)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: %d\n%s", c.args, code, out)
		}
	}
}
