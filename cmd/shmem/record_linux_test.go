package main

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestRecordGrows: a recording goes on when a newer program appends fields. It keeps the items as
// they were when it began, and says so.
func TestRecordGrows(t *testing.T) {
	type older struct{ N uint64 }
	type newer struct{ N, More uint64 }
	dir, file := shmemtest.Dir(t), filepath.Join(t.TempDir(), "recording")
	o := &topic.Options{Dir: dir, Capacity: 8, Reserve: 64}
	first, err := topic.Create[older]("grows", o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var errs output
	e := &env{ctx: ctx, verb: "record", dir: dir, out: guard{w: &output{}}, err: guard{w: &errs}}
	ended := make(chan error, 1)
	go func() { ended <- (&recordCmd{Name: "grows", File: file, From: "oldest", Count: 3}).Run(e) }()
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) { // until it waits for messages
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			break
		}
	}
	o.Append = true
	second, err := topic.Open[newer]("grows", o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for _, err := range []error{
		first.Publish(ctx, older{1}), second.Publish(ctx, newer{2, 20}),
		second.Publish(ctx, newer{3, 30}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(errs.b.String(), "more fields"); n != 1 {
		t.Errorf("it says %q", errs.b.String())
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	item, err := readRecordHeader(in)
	if err != nil || item.Size != 8 {
		t.Fatalf("items of %v, %v", item, err)
	}
	for n := range uint64(3) {
		var b [messageHeaderSize + 8]byte
		_, err := io.ReadFull(in, b[:])
		if err != nil || binary.NativeEndian.Uint64(b[messageHeaderSize:]) != n+1 {
			t.Errorf("message %d: % x, %v", n, b, err)
		}
	}
}
