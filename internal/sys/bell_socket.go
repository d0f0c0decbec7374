//go:build darwin || (linux && portable)

package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxSpin is about what a datagram and the wake-up of a goroutine by the network poller cost.
const MaxSpin = 60 * time.Microsecond

// BellTakesThread: see bell.go.
const BellTakesThread = false

// bellRoot is the same for all processes of the machine, whatever their environment.
const bellRoot = "/tmp"

// A Bell is a datagram socket. Go's network poller takes it, so that waiting costs no thread. Its
// name is in a directory of this user alone: processes of other users cannot ring it, and look when
// the backstop says so.
type Bell struct {
	f    *os.File
	path string
	buf  [1]byte
}

// bellDir makes and checks the directory of this user's bells.
var bellDir = sync.OnceValues(func() (string, error) {
	dir := bellPath()
	return dir, makePrivate(dir)
})

func bellPath() string { return fmt.Sprintf("%s/shmem-bells-%d", bellRoot, os.Geteuid()) }

// makePrivate makes and checks a directory of this user alone.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := Lstat(dir)
	if err != nil {
		return err
	}
	if !st.Mode.IsDir() || st.UID != uint32(os.Geteuid()) || st.Mode.Perm() != 0o700 {
		return fs.ErrPermission
	}
	return nil
}

func BellName(file Stat, slot int, gen uint32) string {
	return fmt.Sprintf("%s/%x-%x-%x-%x", bellPath(), file.Dev, file.Ino, slot, gen)
}

func OpenBell(name string) (*Bell, error) {
	dir, err := bellDir()
	if err != nil {
		return nil, err
	}
	sweepOnce.Do(func() { sweepBells(dir) })
	fd, err := datagramSocket()
	if err != nil {
		return nil, err
	}
	_ = Unlink(name)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	b := &Bell{f: os.NewFile(uintptr(fd), name), path: name}
	// A descriptor that the network poller does not take has no deadlines.
	if err := b.f.SetReadDeadline(time.Time{}); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func datagramSocket() (int, error) {
	syscall.ForkLock.RLock() // no other program inherits it
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (b *Bell) Wait(d time.Duration) bool {
	if b.f.SetReadDeadline(time.Now().Add(d)) != nil {
		return false
	}
	_, err := b.f.Read(b.buf[:])
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

func (b *Bell) Close() {
	_ = Unlink(b.path)
	_ = b.f.Close()
}

// A Ringer is a socket that sends.
type Ringer struct{ fd int }

func OpenRinger() (*Ringer, error) {
	fd, err := datagramSocket()
	if err != nil {
		return nil, err
	}
	return &Ringer{fd}, nil
}

var datagram = []byte{0}

// Ring does not wait: a socket that is full rings already.
func (r *Ringer) Ring(name string) {
	_ = retry(func() error {
		return unix.Sendto(r.fd, datagram, 0, &unix.SockaddrUnix{Name: name})
	})
}

func (r *Ringer) Close() { _ = unix.Close(r.fd) }

// sweepOnce sweeps when the process makes its first bell.
var sweepOnce sync.Once

// sweepAge is how old what is swept must be: a bell has its name some moments before it can be
// reached.
const sweepAge = 10 * time.Second

// maxSweep bounds what one sweep looks at.
const maxSweep = 4096

// sweepBells removes the names of sockets that no process has any more.
func sweepBells(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxSweep)
	for _, name := range names {
		path := filepath.Join(dir, name)
		st, err := Lstat(path)
		if err != nil || st.Mode&fs.ModeSocket == 0 || time.Since(st.Modified) < sweepAge {
			continue
		}
		if fd, err := datagramSocket(); err == nil {
			if unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == unix.ECONNREFUSED {
				_ = Unlink(path)
			}
			_ = unix.Close(fd)
		}
	}
}
