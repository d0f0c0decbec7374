//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// TestInterrupted: Ctrl-C also ends what waits for input in the middle of a frame, which nobody waits for.
func TestInterrupted(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "interrupted-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "shmem") // testscript.Main goes by the name
	if err := os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "pump", "--dir", dir, "--topic", "--frame", "4", "frames")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if _, err := in.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	var tp *topic.Topic[[4]byte]
	for tp == nil {
		if tp, err = topic.Attach[[4]byte]("frames", &topic.Options{Options: shmem.Options{Dir: dir}}); err != nil {
			time.Sleep(time.Millisecond)
		}
	}
	defer tp.Close()
	for s, err := tp.Stats(); s.Published < 2 || err != nil; s, err = tp.Stats() { // the second is begun
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if err := tp.Publish(t.Context(), [4]byte{'n', 'e', 'x', 't'}); err != nil {
		t.Fatal(err)
	}
	sub, err := tp.Subscribe(topic.Oldest)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for _, want := range []string{"abcd", "next"} {
		if got, err := sub.Recv(t.Context()); string(got[:]) != want || err != nil {
			t.Errorf("%q, want %q (%v)", got, want, err)
		}
	}
}
