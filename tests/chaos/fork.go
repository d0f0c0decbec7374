//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
)

// To start a Go program costs more than the few calls that most workers live for. So one process
// starts, and then forks the workers: Go has no fork, but with one P, without the garbage collector
// and with nothing yet that waits for a goroutine elsewhere, the one thread that is left in the child
// can run everything that a worker does. The workers are children of the parent (CLONE_PARENT).
//
// Those in another PID namespace are started as programs, like all of them with -fork=false.

const (
	forkerArg   = "forker"
	cloneParent = 0x8000
	prPdeathsig = 1
)

var canFork = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

type forker struct {
	cmd      *exec.Cmd
	ask, got *os.File
}

func startForker(exe, base string, env []string) (*forker, error) {
	r1, w1, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: exe, Args: []string{"chaos-worker", workerArg, forkerArg, base}, Env: env,
		Stdin: r1, Stdout: w2, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	err = cmd.Start()
	_ = r1.Close()
	_ = w2.Close()
	return &forker{cmd, w1, r2}, err
}

// start forks the worker of an index.
func (f *forker) start(index int, reader bool) (pid int, err error) {
	var b [8]byte
	binary.NativeEndian.PutUint32(b[:], uint32(index))
	if reader {
		b[4] = 1
	}
	if _, err := f.ask.Write(b[:]); err != nil {
		return 0, err
	}
	if _, err := f.got.Read(b[:]); err != nil {
		return 0, err
	}
	pid = int(int64(binary.NativeEndian.Uint64(b[:])))
	if pid <= 0 {
		return 0, syscall.Errno(-pid)
	}
	return pid, nil
}

// runForker is the process that forks.
func runForker(base string) {
	a, err := openAudit(filepath.Join(base, "audit"), false)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	// What every worker would find out anew.
	o := &shmem.Options{Dir: filepath.Join(base, "spare")}
	_, _ = shmem.Attach[value]("none", o)
	_, _ = shmem.Attach[rawValue]("none", o)
	var b [8]byte
	for {
		// Raw calls: nothing is to be handed to another thread.
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, addressOf(b[:]), 8)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != 8 {
			os.Exit(0)
		}
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, cloneParent|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			syscall.RawSyscall(syscall.SYS_PRCTL, prPdeathsig, uintptr(syscall.SIGKILL), 0)
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, 0, 0, 0)
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, 1, 0, 0)
			if b[4] != 0 {
				syscall.RawSyscall(syscall.SYS_SETRESGID, nobody, nobody, nobody)
				syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody)
				syscall.RawSyscall(syscall.SYS_PRCTL, prPdeathsig, uintptr(syscall.SIGKILL), 0)
			}
			w := newWorker(a, int(binary.NativeEndian.Uint32(b[:])), base)
			w.token = uint64(time.Now().UnixNano())<<20 ^ uint64(os.Getpid())
			w.rng = rand.New(rand.NewPCG(uint64(w.cfg.seed), w.token))
			w.run()
			os.Exit(0)
		}
		answer := int64(pid)
		if errno != 0 {
			answer = -int64(errno)
		}
		binary.NativeEndian.PutUint64(b[:], uint64(answer))
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, 1, addressOf(b[:]), 8)
	}
}

const nobody = 65534
