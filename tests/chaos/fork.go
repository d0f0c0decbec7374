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

// To start a Go program costs more than the few calls that most workers live for. So one process,
// the forker, starts and forks the workers. Go has no fork. But with one P, without the garbage
// collector, and with no goroutine in another thread, the one thread that is left in the child can
// run all that a worker does. The workers are children of the parent (CLONE_PARENT).
//
// Workers in another PID namespace are started as programs, and with -fork=false all workers are.

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
		Stdin: r1, Stdout: w2, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	err = cmd.Start()
	_ = r1.Close()
	_ = w2.Close()
	return &forker{cmd, w1, r2}, err
}

// start has the forker fork the worker of an index, and returns its pid.
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

// runForker is the main function of the forker.
func runForker(base string) {
	a, err := openAudit(filepath.Join(base, "audit"), false)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	// So that the workers need not work out the layouts of the two types again.
	o := &shmem.Options{Dir: filepath.Join(base, "spare")}
	_, _ = shmem.Attach[value]("none", o)
	_, _ = shmem.Attach[rawValue]("none", o)
	var b [8]byte
	for {
		// Raw system calls: the runtime must not move the goroutine to another thread.
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, addressOf(b[:]), 8)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != 8 {
			os.Exit(0)
		}
		flags := cloneParent | uintptr(syscall.SIGCHLD)
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			runForked(a, int(binary.NativeEndian.Uint32(b[:])), base, b[4] != 0)
		}
		reply := int64(pid)
		if errno != 0 {
			reply = -int64(errno)
		}
		binary.NativeEndian.PutUint64(b[:], uint64(reply))
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, 1, addressOf(b[:]), 8)
	}
}

// runForked is the main function of a forked worker.
func runForked(a *shared, index int, base string, reader bool) {
	syscall.RawSyscall(syscall.SYS_PRCTL, prPdeathsig, uintptr(syscall.SIGKILL), 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, 0, 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, 1, 0, 0)
	if reader {
		syscall.RawSyscall(syscall.SYS_SETRESGID, readerID, readerID, readerID)
		syscall.RawSyscall(syscall.SYS_SETRESUID, readerID, readerID, readerID)
		// setresuid has cleared it.
		syscall.RawSyscall(syscall.SYS_PRCTL, prPdeathsig, uintptr(syscall.SIGKILL), 0)
	}
	w := newWorker(a, index, base)
	w.token = uint64(time.Now().UnixNano())<<20 ^ uint64(os.Getpid())
	w.rng = rand.New(rand.NewPCG(uint64(w.cfg.seed), w.token))
	w.run()
	os.Exit(0)
}

// readerID is the user and the group that readers run as.
const readerID = 65534
