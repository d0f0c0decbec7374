//go:build !portable

package sys_test

import (
	"os"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// The tests of this file are about what no other system has.

func TestSeal(t *testing.T) {
	fd := anonymous(t, 4096)
	if fd.Sealed() {
		t.Error("sealed at first")
	}
	wantErr(t, "Seal", fd.Seal(), nil)
	if !fd.Sealed() {
		t.Error("not sealed")
	}
	for _, size := range []int64{0, 8192} {
		if err := fd.Truncate(size); err == nil {
			t.Errorf("a sealed file gets %d bytes", size)
		}
	}
}

func TestFutex(t *testing.T) {
	page := uintptr(os.Getpagesize())
	p, err := sys.Map(nil, page, anonymous(t, int64(page)), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Retire(p, page, false)
	word := (*uint32)(p)
	start := time.Now()
	sys.FutexWait(word, 1, time.Hour) // the value differs: it returns at once
	sys.FutexWait(word, 0, time.Millisecond)
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("FutexWait took %v", d)
	}
	done := make(chan bool)
	go func() { sys.FutexWait(word, 0, time.Hour); close(done) }()
	for {
		sys.FutexWake(word, 1) // again and again: the other may not sleep yet
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal("FutexWake does not wake")
		}
	}
}
