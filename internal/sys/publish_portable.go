//go:build darwin || (linux && portable)

package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

func CreateNameless(string, fs.FileMode) (FD, error) { return NoFD, unix.EOPNOTSUPP }

func NoNameless(err error) bool { return errors.Is(err, unix.EOPNOTSUPP) }

// CreateAnonymous creates a file and removes its name. A process that dies between leaves it to
// Reclaim, as other files in the making.
func CreateAnonymous(string) (FD, error) {
	path := fmt.Sprintf("%s/.shmem-%016x%016x", DefaultDir, rand.Uint64(), rand.Uint64())
	fd, err := CreateExclusive(path, 0o600)
	if err != nil {
		return NoFD, err
	}
	if err := Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = fd.Close()
		return NoFD, err
	}
	return fd, nil
}

func (fd FD) Seal() error { return nil }

func (fd FD) Sealed() bool { return false }

func (fd FD) Link(string) error { return unix.EOPNOTSUPP }

// Weaker: see file.go.
var Weaker = append([]string{
	"a wake-up is a datagram: it takes two to three times as long, and up to 100 ms between users",
	"a segment that has lost its name cannot be passed on, and an anonymous one is not sealed",
	"Select and waiting for a name or an event look from time to time",
}, weakerHere...)

// ReopensByName: see file.go.
const ReopensByName = true

// Reopen goes by the path of the file: the file must have it still.
func (fd FD) Reopen(write bool) (FD, error) {
	path, err := fd.Path()
	if err != nil {
		return NoFD, err
	}
	n, err := Open(path, write)
	if err != nil {
		return NoFD, err
	}
	mine, err1 := fd.Stat()
	there, err2 := n.Stat()
	if err := errors.Join(err1, err2); err != nil || !mine.Same(there) {
		_ = n.Close()
		return NoFD, fs.ErrNotExist
	}
	return n, nil
}

func (fd FD) InUse() (bool, error) { return false, errors.ErrUnsupported }
