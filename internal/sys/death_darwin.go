package sys

import (
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A process has one kqueue, with a thread, for all that it watches.

// A Process is watched by the kqueue.
type Process struct {
	pid    int
	ended  chan struct{} // closed when the process has ended; guarded by deaths.mu
	closed chan struct{} // closed by Close
	once   sync.Once
}

// deaths has what the kqueue watches.
var deaths struct {
	mu    sync.Mutex
	kq    int
	known map[int][]*Process // by pid; nil: there is no kqueue yet
}

func OpenProcess(pid int) (*Process, error) {
	deaths.mu.Lock()
	defer deaths.mu.Unlock()
	if deaths.known == nil {
		kq, err := unix.Kqueue()
		if err != nil {
			return nil, err
		}
		unix.CloseOnExec(kq)
		deaths.kq, deaths.known = kq, map[int][]*Process{}
		go readDeaths(kq)
	}
	change := unix.Kevent_t{
		Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT,
		Fflags: unix.NOTE_EXIT,
	}
	err := retry(func() error {
		_, err := unix.Kevent(deaths.kq, []unix.Kevent_t{change}, nil, nil)
		return err
	})
	if err != nil {
		return nil, err // ESRCH: it has ended
	}
	p := &Process{pid: pid, ended: make(chan struct{}), closed: make(chan struct{})}
	deaths.known[pid] = append(deaths.known[pid], p)
	return p, nil
}

// readDeaths tells the watched processes of a kqueue what the kernel says.
func readDeaths(kq int) {
	var events [16]unix.Kevent_t
	for {
		n, err := unix.Kevent(kq, nil, events[:], nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		deaths.mu.Lock()
		for _, e := range events[:n] {
			for _, p := range deaths.known[int(e.Ident)] {
				close(p.ended)
			}
			delete(deaths.known, int(e.Ident))
		}
		deaths.mu.Unlock()
	}
}

func (p *Process) Wait() error {
	select {
	case <-p.ended:
		return nil
	case <-p.closed:
		return fs.ErrClosed
	}
}

// Close leaves the kernel's event: it is told once, and found to be about no known process.
func (p *Process) Close() error {
	p.once.Do(func() {
		close(p.closed)
		deaths.mu.Lock()
		defer deaths.mu.Unlock()
		rest := slices.DeleteFunc(deaths.known[p.pid], func(o *Process) bool { return o == p })
		if len(rest) == 0 {
			delete(deaths.known, p.pid)
		} else {
			deaths.known[p.pid] = rest
		}
	})
	return nil
}
