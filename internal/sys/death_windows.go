package sys

import (
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sys/windows"
)

// A reaper is a thread that waits for the ends of up to maxWatched processes.

// A Process is watched by a reaper.
type Process struct {
	handle windows.Handle // closed by the reaper
	ended  chan struct{}  // closed when the process has ended
	closed chan struct{}  // closed by Close
	once   sync.Once
	reaper *reaper
}

// maxWatched is how many handles a thread can wait for, less the event.
const maxWatched = 63

// reapers are those of this process.
var reapers struct {
	mu  sync.Mutex
	all []*reaper // guarded by mu
}

type reaper struct {
	changed windows.Handle // an event: the list has changed

	list []*Process // guarded by reapers.mu
}

func OpenProcess(pid int) (*Process, error) {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return nil, err
	}
	p := &Process{handle: h, ended: make(chan struct{}), closed: make(chan struct{})}
	reapers.mu.Lock()
	defer reapers.mu.Unlock()
	for _, r := range reapers.all {
		if len(r.list) < maxWatched {
			r.add(p)
			return p, nil
		}
	}
	event, err := windows.CreateEvent(nil, 0, 0, nil)
	if event == 0 {
		_ = windows.CloseHandle(h)
		return nil, err
	}
	r := &reaper{changed: event}
	reapers.all = append(reapers.all, r)
	r.add(p)
	go r.run()
	return p, nil
}

// add adds a process. reapers.mu is held.
func (r *reaper) add(p *Process) {
	p.reaper = r
	r.list = append(r.list, p)
	_ = windows.SetEvent(r.changed)
}

// run waits until the list is empty.
func (r *reaper) run() {
	defer func() { _ = windows.CloseHandle(r.changed) }()
	for {
		watched, handles := r.watched()
		if len(watched) == 0 {
			return
		}
		i, err := windows.WaitForMultipleObjects(handles, false, windows.INFINITE)
		if err != nil {
			i = windows.WAIT_OBJECT_0 // a list without closed handles follows
		}
		if n := int(i - windows.WAIT_OBJECT_0); n > 0 && n <= len(watched) {
			r.end(watched[n-1])
		}
	}
}

// watched returns the processes of the list that are not closed, and what to wait for. The reaper
// alone closes handles, so none is closed during a wait.
func (r *reaper) watched() ([]*Process, []windows.Handle) {
	reapers.mu.Lock()
	defer reapers.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(p *Process) bool {
		select {
		case <-p.closed:
			_ = windows.CloseHandle(p.handle)
			return true
		default:
			return false
		}
	})
	if len(r.list) == 0 {
		reapers.all = slices.DeleteFunc(reapers.all, func(o *reaper) bool { return o == r })
		return nil, nil
	}
	handles := []windows.Handle{r.changed}
	for _, p := range r.list {
		handles = append(handles, p.handle)
	}
	return slices.Clone(r.list), handles
}

// end tells that a process has ended.
func (r *reaper) end(p *Process) {
	reapers.mu.Lock()
	defer reapers.mu.Unlock()
	close(p.ended)
	_ = windows.CloseHandle(p.handle)
	r.list = slices.DeleteFunc(r.list, func(o *Process) bool { return o == p })
}

func (p *Process) Wait() error {
	select {
	case <-p.ended:
		return nil
	case <-p.closed:
		return fs.ErrClosed
	}
}

func (p *Process) Close() error {
	p.once.Do(func() {
		reapers.mu.Lock()
		defer reapers.mu.Unlock()
		close(p.closed)
		if slices.Contains(p.reaper.list, p) {
			_ = windows.SetEvent(p.reaper.changed)
		}
	})
	return nil
}
