package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// A process is a child that can be killed and started again.
type process struct {
	args []string
	cmd  *exec.Cmd
	in   io.Closer
	said chan string   // its first line of output
	done chan struct{} // closed when it has ended
}

// start starts the process with something more in its environment.
func (p *process) start(env ...string) error {
	p.cmd = exec.Command("/proc/self/exe", p.args...)
	p.cmd.Stderr = os.Stderr
	p.cmd.Env = append(os.Environ(), env...)
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.in, p.said, p.done = in, make(chan string, 1), make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func(cmd *exec.Cmd, said chan<- string, done chan<- struct{}) {
		defer close(done)
		if s := bufio.NewScanner(out); s.Scan() {
			said <- s.Text()
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}(p.cmd, p.said, p.done)
	return nil
}

// ready waits until a server has said that clients can connect.
func (p *process) ready() error {
	select {
	case <-p.said:
		return nil
	case <-p.done:
		return errors.New("a server has ended")
	case <-time.After(time.Minute):
		return errors.New("a server is not ready")
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.in.Close()
}

// again kills the process, and starts it anew.
func (p *process) again() error {
	p.kill()
	return p.start()
}
