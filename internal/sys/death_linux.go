//go:build !portable

package sys

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a process descriptor, which Go's network poller takes.
type Process struct{ f *os.File }

func OpenProcess(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.EINVAL { // before 5.10
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			if err = unix.SetNonblock(fd, true); err != nil {
				_ = unix.Close(fd)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	// A descriptor that the network poller does not take has no deadlines.
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Process{f}, nil
}

func (p *Process) Close() error { return p.f.Close() }

func (p *Process) Wait() error {
	c, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	return c.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err != unix.EINTR && n != 0
	})
}
