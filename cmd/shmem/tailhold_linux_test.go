package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// TestTailHoldsBytes: publishers of a topic of bytes wait for `tail --hold`, which shows every
// message, in order; --time begins each line with when the message was published.
func TestTailHoldsBytes(t *testing.T) {
	dir, bin := interruptible(t)
	tp, err := topic.CreateBytes("lines", &topic.BytesOptions{
		Dir: dir, Capacity: 4, Bytes: 256, Holds: 1, Stamped: true, Lifetime: shmem.Owned,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	const n = 100
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "--dir", dir, "tail", "--hold", "--time", "-n",
		fmt.Sprint(n), "lines")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for s, err := tp.Stats(); s.Holds == 0; s, err = tp.Stats() {
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	began := time.Now().Round(0)
	go func() {
		for i := range n {
			if err := tp.Publish(ctx, fmt.Appendf(nil, "%*d", i+1, i)); err != nil {
				t.Error(err)
			}
		}
	}()
	lines := bufio.NewScanner(out)
	last := began
	for i := range n {
		if !lines.Scan() {
			t.Fatalf("%d lines, want %d: %v", i, n, lines.Err())
		}
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if text != fmt.Sprintf("%*d", i+1, i) || err != nil || at.Before(last) {
			t.Errorf("line %d is %q, published %v after %v, %v", i, text, at, last, err)
		}
		last = at
	}
	if err := cmd.Wait(); err != nil || last.After(time.Now()) {
		t.Error(err, last)
	}
}
