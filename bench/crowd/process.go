//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A process is a child. It says "ready", works from the line that is written to it until the next
// one, and then writes one line.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(c *exec.Cmd) *process {
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	must(err)
	out, err := c.StdoutPipe()
	must(err)
	must(c.Start())
	p := &process{c, in, bufio.NewReader(out)}
	p.line()
	return p
}

// own starts this program in a role.
func own(role string, param any) *process {
	return start(exec.Command("/proc/self/exe", "-role", role, "-param", asJSON(param)))
}

func (p *process) line() string {
	s, err := p.out.ReadString('\n')
	must(err)
	return s
}

// next writes a line to the process.
func (p *process) next() {
	_, err := io.WriteString(p.in, "\n")
	must(err)
}

// end waits for the process.
func (p *process) end() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// A usage is what a process has used.
type usage struct {
	CPU      time.Duration
	Switches int64
}

func used() usage {
	var r syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Nvcsw + r.Nivcsw}
}

func (u usage) minus(v usage) usage { return usage{u.CPU - v.CPU, u.Switches - v.Switches} }

// parse reads what asJSON wrote.
func parse[T any](s string) (v T) {
	must(json.Unmarshal([]byte(s), &v))
	return v
}

// A parent is what a child knows of its parent.
type parent struct{ in *bufio.Reader }

func (p *parent) say(line string) { os.Stdout.WriteString(line + "\n") }

// wait waits for the next line, or for the end of the parent.
func (p *parent) wait() {
	if _, err := p.in.ReadString('\n'); err != nil {
		os.Exit(0)
	}
}

func theParent() *parent { return &parent{bufio.NewReader(os.Stdin)} }
