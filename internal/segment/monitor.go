package segment

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
)

// A monitor finds out that the name of a segment does not lead to it any more, for one attachment.
// It exists once Unlinked or Events was called. Its goroutine ends with the attachment, or when the
// name is gone.
type monitor struct {
	unlinked chan struct{} // closed when the name is gone, and by Detach
	gone     atomic.Bool   // the name is gone
}

// Times between two looks at the name. Where the kernel tells of changes of the file, a look is
// needed for what changes above the file, such as the name of its directory.
const (
	firstLook = 10 * time.Millisecond // where the kernel does not tell; each is twice the last
	lastLook  = time.Second
)

// Unlinked returns a channel that is closed when the name no longer leads to this segment, and by
// Detach.
func (a *Attachment) Unlinked() <-chan struct{} { return a.monitored().unlinked }

// monitored returns the monitor, which it starts at the first call.
func (a *Attachment) monitored() *monitor {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.monitor != nil {
		return a.monitor
	}
	m := &monitor{unlinked: make(chan struct{})}
	a.monitor = m
	if a.Closed() || a.path == "" {
		m.gone.Store(a.path == "")
		close(m.unlinked)
		return m
	}
	notice, err := sys.NotifyFile(a.file)
	if err != nil {
		notice = nil
	}
	go m.run(a, notice, a.m.Closing())
	return m
}

// run watches the name. notice is nil where the kernel does not tell of changes of the file.
func (m *monitor) run(a *Attachment, notice *sys.Notice, closing <-chan struct{}) {
	defer close(m.unlinked)
	var changed <-chan struct{}
	every := firstLook
	if notice != nil {
		defer notice.Cancel()
		changed, every = notice.C, lastLook
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for a.Linked() {
		select {
		case <-changed:
		case <-timer.C:
			every = min(2*every, lastLook)
			timer.Reset(every)
		case <-closing:
			return
		}
	}
	if a.Closed() {
		return
	}
	m.gone.Store(true)
	a.noteGone()
}

// noteGone makes waiters look. It tells the others, if the process died that has taken the name.
func (a *Attachment) noteGone() {
	if a.id == format.NoID || !a.m.Pin() {
		return
	}
	defer a.m.Unpin()
	gone := true
	if a.m.Guard(func() { gone = a.m.Peers.Words.Gone.Load() != 0 }) != nil {
		return
	}
	if !gone && a.Nameless() {
		a.tell()
		return
	}
	_ = a.m.Guard(func() { wait.RingOwn(a.m) })
}
