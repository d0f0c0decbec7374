//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// extra are files that the next child inherits.
var extra []*os.File

func cpuTime() time.Duration { return usage(syscall.RUSAGE_SELF) }

// threadTime is cpuTime of this thread: without that of the Go runtime's monitor thread, which
// costs as long as a case takes, whatever it does.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	return usage(thread)
}

func usage(who int) time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(who, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// A peer is the other process of a case.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startPeer starts the other process and waits until its side is open.
func startPeer(b *bench, n int) *peer {
	c := exec.Command("/proc/self/exe", "-child", b.key(), "-base", *base, "-n", strconv.Itoa(n))
	c.Stderr = os.Stderr
	c.ExtraFiles = extra
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	must(err)
	out, err := c.StdoutPipe()
	must(err)
	must(c.Start())
	for _, f := range extra {
		f.Close()
	}
	extra = nil
	p := &peer{c, in, bufio.NewReader(out)}
	_, err = p.out.ReadString('\n') // ready
	must(err)
	return p
}

// result waits until the peer's side has run, and returns its CPU time.
func (p *peer) result() time.Duration {
	line, err := p.out.ReadString('\n')
	must(err)
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	must(err)
	return time.Duration(n)
}

// measure runs one case once.
func measure(b *bench, n int) (wall, cpu time.Duration) {
	*base = fmt.Sprintf("queues-%d", os.Getpid())
	b.here.open()
	defer b.here.close()
	if b.there == nil {
		before, began := cpuTime(), time.Now()
		b.here.run(n)
		return time.Since(began), cpuTime() - before
	}
	p := startPeer(b, n)
	before, began := cpuTime(), time.Now()
	if b.ownCPU {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before = threadTime()
	}
	fmt.Fprintln(p.in, "go")
	b.here.run(n)
	if b.ownCPU {
		wall, cpu = time.Since(began), threadTime()-before
		p.result()
	} else {
		cpu = p.result()
		wall = time.Since(began)
		cpu += cpuTime() - before
	}
	p.in.Close()
	must(p.cmd.Wait())
	return wall, cpu
}

// serve runs the other side of a case, in the child.
func serve(b *bench) {
	b.there.open()
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	_, err := in.ReadString('\n')
	must(err)
	before := cpuTime()
	b.there.run(*count)
	fmt.Println(int64(cpuTime() - before))
	_, _ = in.ReadString('\n') // until the parent is done
	b.there.close()
}
