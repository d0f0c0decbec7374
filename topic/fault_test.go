package topic_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestFaultUnpins receives from a truncated file and recovers the fault: Close does not wait for the
// call that faulted.
func TestFaultUnpins(t *testing.T) {
	if os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("an emulator does not say at which address a fault was: needs a real processor")
	}
	dir := shmemtest.Dir(t)
	tp, err := topic.Create[[4096]byte]("t", &topic.Options{Dir: dir, Capacity: 64})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tp.Subscribe(topic.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "t"), 0); err != nil {
		t.Fatal(err)
	}
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("no fault")
			}
		}()
		_, _ = s.TryRecv()
	}()
	done := make(chan error, 1)
	go func() { done <- tp.Close() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Close waits for a call that has faulted")
	}
	if err := os.Remove(filepath.Join(dir, "t")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
