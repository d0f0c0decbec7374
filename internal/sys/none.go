//go:build !linux && !darwin && !windows

package sys

import (
	"errors"
	"io/fs"
	"os"
)

// Supported reports whether named segments work on this system.
const Supported = false

// Weaker: see file.go. Nothing works here.
var Weaker []string

// DiskOnly: see file.go.
const DiskOnly = true

// HasModes and PassesFiles: see file.go.
const (
	HasModes    = false
	PassesFiles = false
)

// ReopensByName: see file.go.
const ReopensByName = true

// DefaultDir is the default directory of segments.
const DefaultDir = "/dev/shm"

// Errors that the library distinguishes. None of them occurs on this system.
var (
	ErrHeld         = errors.New("lock is held")
	ErrNoSpace      = errors.New("no space left on device")
	ErrLoop         = errors.New("symbolic link")
	ErrIsDir        = errors.New("is a directory")
	ErrNoDev        = errors.New("no such device")
	ErrNotDir       = errors.New("not a directory")
	ErrMFile        = errors.New("too many open files")
	ErrNFile        = errors.New("too many open files in system")
	ErrNoMem        = errors.New("cannot allocate memory")
	ErrQuota        = errors.New("quota exceeded")
	ErrTooLong      = errors.New("name too long")
	ErrFBig         = errors.New("file too large")
	ErrROFS         = errors.New("read-only file system")
	ErrNotSupported = errors.New("operation not supported")
	ErrNoLocks      = errors.New("no locks of open file descriptions")
)

func Open(string, bool) (FD, error)                   { return NoFD, errors.ErrUnsupported }
func OpenPath(string) (FD, error)                     { return NoFD, errors.ErrUnsupported }
func OpenAny(string, bool) (FD, error)                { return NoFD, errors.ErrUnsupported }
func CreateNameless(string, fs.FileMode) (FD, error)  { return NoFD, errors.ErrUnsupported }
func NoNameless(error) bool                           { return false }
func CreateExclusive(string, fs.FileMode) (FD, error) { return NoFD, errors.ErrUnsupported }
func CreateAnonymous(string) (FD, error)              { return NoFD, errors.ErrUnsupported }
func Rename(string, string) error                     { return errors.ErrUnsupported }
func RenameExclusive(string, string) error            { return errors.ErrUnsupported }
func Unlink(string) error                             { return errors.ErrUnsupported }
func Lstat(string) (Stat, error)                      { return Stat{}, errors.ErrUnsupported }
func MountOf(string) (Mount, error)                   { return Mount{}, errors.ErrUnsupported }
func MakeDefaultDir() error                           { return nil }
func HasProc() bool                                   { return false }
func MayUnlink(string, FD) error                      { return errors.ErrUnsupported }
func OverflowUID() uint32                             { return 0 }
func OverflowGID() uint32                             { return 0 }
func GroupID(string) (uint64, bool)                   { return 0, false }
func (fd FD) Owned() bool                             { return false }
func (fd FD) Chgrp(uint32) error                      { return errors.ErrUnsupported }
func PIDNamespace() uint64                            { return 0 }
func (fd FD) Seal() error                             { return errors.ErrUnsupported }
func (fd FD) Sealed() bool                            { return false }
func (fd FD) Reopen(bool) (FD, error)                 { return NoFD, errors.ErrUnsupported }
func (fd FD) Link(string) error                       { return errors.ErrUnsupported }
func (fd FD) Stat() (Stat, error)                     { return Stat{}, errors.ErrUnsupported }
func (fd FD) Chmod(fs.FileMode) error                 { return errors.ErrUnsupported }
func (fd FD) ReadAt([]byte, int64) (int, error)       { return 0, errors.ErrUnsupported }
func (fd FD) Data(int64) (int64, int64, error)        { return 0, 0, errors.ErrUnsupported }
func (fd FD) WriteAt([]byte, int64) error             { return errors.ErrUnsupported }
func (fd FD) Allocate(int64, int64) error             { return errors.ErrUnsupported }
func (fd FD) Truncate(int64) error                    { return errors.ErrUnsupported }
func (fd FD) Lock(int64, bool) error                  { return errors.ErrUnsupported }
func (fd FD) LockWait(int64) error                    { return errors.ErrUnsupported }
func (fd FD) Unlock(int64, int64) error               { return errors.ErrUnsupported }
func (fd FD) Held(int64, int64) (bool, error)         { return false, errors.ErrUnsupported }
func (fd FD) InUse() (bool, error)                    { return false, errors.ErrUnsupported }
func (fd FD) Shared(int64) (bool, error)              { return false, errors.ErrUnsupported }
func (fd FD) Path() (string, error)                   { return "", errors.ErrUnsupported }
func (fd FD) Close() error                            { return errors.ErrUnsupported }
func (fd FD) InMemory() bool                          { return false }
func (fd FD) File(name string) *os.File               { return nil }
