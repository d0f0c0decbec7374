//go:build !portable

package sys

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A process has one inotify instance for all its watches: a user can have 128 of them only. It is
// made for the first watch and closed with the last. Go's network poller takes it, so reading costs
// no thread.

// A Notice tells of changes at a file or in a directory. A receive from C means that there may be
// one; several changes may be told once.
type Notice struct {
	C <-chan struct{}

	ring     chan struct{} // C
	name     string        // "": of the file; else only this name in the directory
	from     *notifier
	wd       int32
	canceled bool // guarded by notify.mu
}

// A notifier is an inotify instance.
type notifier struct {
	file    *os.File
	fd      int
	watches map[int32][]*Notice // guarded by notify.mu
}

// notify is the present instance.
var notify struct {
	mu sync.Mutex
	at *notifier // nil: there is none; guarded by mu
}

const (
	ofFile = unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	ofDir  = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF |
		unix.IN_ONLYDIR
)

func NotifyFile(fd FD) (*Notice, error) { return newNotice(fd.procPath(), "", ofFile) }

func NotifyName(dir, name string) (*Notice, error) { return newNotice(dir, name, ofDir) }

func newNotice(path, name string, mask uint32) (*Notice, error) {
	if AvoidNotify {
		return nil, unix.ENOSYS
	}
	notify.mu.Lock()
	defer notify.mu.Unlock()
	at := notify.at
	if at == nil {
		var err error
		if at, err = newNotifier(); err != nil {
			return nil, err
		}
	}
	wd, err := unix.InotifyAddWatch(at.fd, path, mask)
	if err != nil {
		if notify.at == nil {
			at.close()
		}
		return nil, err
	}
	if notify.at == nil {
		notify.at = at
		go at.read()
	}
	c := make(chan struct{}, 1)
	n := &Notice{C: c, ring: c, name: name, from: at, wd: int32(wd)}
	at.watches[n.wd] = append(at.watches[n.wd], n)
	return n, nil
}

func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inotify")
	// A descriptor that the network poller does not take has no deadlines.
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &notifier{file: f, fd: fd, watches: map[int32][]*Notice{}}, nil
}

// Cancel ends the watch. A second call does nothing.
func (n *Notice) Cancel() {
	notify.mu.Lock()
	defer notify.mu.Unlock()
	if n.canceled {
		return
	}
	n.canceled = true
	at := n.from
	var rest []*Notice
	for _, other := range at.watches[n.wd] {
		if other != n {
			rest = append(rest, other)
		}
	}
	if len(rest) > 0 {
		at.watches[n.wd] = rest
		return
	}
	delete(at.watches, n.wd)
	if len(at.watches) > 0 {
		// The kernel has ended the watch itself if the file is gone.
		_, _ = unix.InotifyRmWatch(at.fd, uint32(n.wd))
		return
	}
	notify.at = nil
	at.close()
}

// close closes the instance. No caller waits for it: it takes the kernel about 10 ms.
func (at *notifier) close() { go func() { _ = at.file.Close() }() }

// read rings for what the kernel tells, until the instance is closed.
func (at *notifier) read() {
	var buf [4096]byte
	for {
		n, err := at.file.Read(buf[:])
		if err != nil || n <= 0 {
			return
		}
		at.tell(buf[:n])
	}
}

// tell rings for a number of events, each of which is a record of 16 bytes and a name padded with
// zeros.
func (at *notifier) tell(b []byte) {
	notify.mu.Lock()
	defer notify.mu.Unlock()
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if end > len(b) {
			return
		}
		name := b[unix.SizeofInotifyEvent:end]
		b = b[end:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, all := range at.watches {
				ringAll(all, nil)
			}
			continue
		}
		ringAll(at.watches[wd], name)
	}
}

// ringAll rings notices for an event. Those of a directory that is itself gone have no name.
func ringAll(notices []*Notice, name []byte) {
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	for _, n := range notices {
		if n.name != "" && len(name) > 0 && n.name != string(name) {
			continue
		}
		select {
		case n.ring <- struct{}{}:
		default:
		}
	}
}
