//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// A proc is a running child, or one that has ended.
type proc struct {
	kind  string // producer, consumer or scribbler
	index int
	cmd   *exec.Cmd
	out   bytes.Buffer  // standard error
	ended chan struct{} // closed when state is set
	state *os.ProcessState
}

// start starts a child. With a fuse it kills itself at the fuse-th step of the protocols.
func start(kind string, index int, fuse uint64, extra ...string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{
		"-child", kind, "-index", strconv.Itoa(index), "-fuse", strconv.FormatUint(fuse, 10),
		"-mode", *mode, "-base", *base, "-dir", *dir,
		"-messages", strconv.FormatUint(*messages, 10), "-batch", strconv.Itoa(*batch),
		"-producers", strconv.Itoa(*producers), "-consumers", strconv.Itoa(*consumers),
		"-capacity", strconv.Itoa(*capacity), fmt.Sprint("-stamped=", *stamped),
	}
	p := &proc{kind: kind, index: index, ended: make(chan struct{})}
	p.cmd = exec.Command(self, append(args, extra...)...)
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	p.cmd.Stderr = &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		p.state = p.cmd.ProcessState
		close(p.ended)
	}()
	return p, nil
}

// killed reports whether a child that has ended was ended by SIGKILL.
func (p *proc) killed() bool {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// stacks ends the child and returns what it printed, which are its stacks.
func (p *proc) stacks() string {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	<-p.ended
	return p.out.String()
}
