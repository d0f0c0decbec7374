//go:build linux

package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// interruptible returns a fresh directory, and the path of the command.
func interruptible(t *testing.T) (dir, bin string) {
	dir, err := os.MkdirTemp("/dev/shm", "interrupted-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if bin, err = built(); err != nil {
		t.Fatal(err)
	}
	return dir, bin
}

// TestInterrupted: Ctrl-C also ends a command that waits for input in the middle of a frame, and no
// subscriber waits for that frame.
func TestInterrupted(t *testing.T) {
	dir, bin := interruptible(t)
	cmd := exec.Command(bin, "pump", "--dir", dir, "--topic", "--keep", "--frame", "4", "frames")
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
		if tp, err = topic.Attach[[4]byte]("frames", &topic.Options{Dir: dir}); err != nil {
			time.Sleep(time.Millisecond)
		}
	}
	defer tp.Close()
	for s, err := tp.Stats(); s.Published < 2 || err != nil; s, err = tp.Stats() { // the second frame has begun
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

// TestInterruptedEnds: an interrupted pump ends the stream that it made, and the exit code of tail
// says which signal ended it.
func TestInterruptedEnds(t *testing.T) {
	dir, bin := interruptible(t)
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, append([]string{"--dir", dir}, args...)...)
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	pump, tail := run("pump", "lines"), run("tail", "--wait", "lines")
	for {
		st, err := shmem.Stat(dir, "lines")
		if err == nil && len(st.Peers) == 2 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // by then it waits for input
	for _, c := range []struct {
		cmd  *exec.Cmd
		sig  os.Signal // nil: it ends by itself
		code int
	}{{pump, os.Interrupt, 130}, {tail, nil, 0}} {
		if c.sig != nil {
			if err := c.cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.cmd.Wait()
		if code := c.cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.cmd.Args[3:], code, c.code)
		}
	}
	for pause := 50 * time.Millisecond; ; pause *= 2 { // until it was ready for the signal
		killed := run("tail", "--wait", "never")
		time.Sleep(pause)
		if err := killed.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = killed.Wait()
		how := killed.ProcessState.Sys().(syscall.WaitStatus)
		if !how.Signaled() || pause > time.Minute {
			if code := how.ExitStatus(); code != 143 {
				t.Errorf("%v: exit code %d, want 143", killed.Args[3:], code)
			}
			return
		}
	}
}
