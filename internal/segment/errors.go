package segment

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// The errors with details are plain twins of those of package shmem, which converts them.

// A MismatchError lists how the requested type and the segment differ. It is errs.Mismatch.
type MismatchError struct {
	Differences []string
	Program     string    // program that created the segment
	Created     time.Time // when it created the segment
}

// Error returns every difference, which program created the segment when, and what to do.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s (created by %q %s ago); "+
		"use another name, or remove the segment when its programs have ended",
		strings.Join(e.Differences, "; "), e.Program, age(time.Since(e.Created)))
}

// Is reports whether target is errs.Mismatch.
func (e *MismatchError) Is(target error) bool { return target == errs.Mismatch }

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// A SpaceError says that there is no room for a new segment. It is errs.NoSpace.
type SpaceError struct {
	Dir        string
	Need       int64  // bytes of the new segment, control block included
	Free, Size int64  // bytes of the file system under Dir; 0: unknown
	Group      string // the memory cgroup whose limit it is; Free and Size are its bytes
	NoInode    bool   // the file system has no room for another file, however small
	Err        error  // the kernel's error
}

// Error says what is needed, what is free, and what to do.
func (e *SpaceError) Error() string {
	switch {
	case e.Group != "":
		return fmt.Sprintf("the memory cgroup %s has no room: %s needed, "+
			"%s of its limit of %s free; raise the limit "+
			"(docker run --memory; Kubernetes: resources.limits.memory; systemd: MemoryMax=), "+
			"or remove segments, whose memory counts", e.Group, size(e.Need),
			size(e.Free), size(e.Size))
	case e.Dir == "memory":
		return fmt.Sprintf("the machine has no room: %s needed, %s of its memory of %s free; "+
			"remove segments or end programs", size(e.Need), size(e.Free), size(e.Size))
	case e.NoInode:
		return fmt.Sprintf("%s has no room for another file: all its inodes are taken (%v); "+
			"remove files, or allow more (mount -o remount,nr_inodes=...)", e.Dir, e.Err)
	case errors.Is(e.Err, sys.ErrQuota):
		return fmt.Sprintf("the quota of this user on %s is used up: %s needed (%v); "+
			"remove segments, or raise the quota", e.Dir, size(e.Need), e.Err)
	}
	return fmt.Sprintf("%s has no room: %s needed, %s of %s free (%v); "+
		"remove segments (List shows them, Reclaim removes those of dead processes), "+
		"or make the file system larger: containers give /dev/shm 64 MiB by default "+
		"(docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory), "+
		"or set Options.Dir to a larger tmpfs", e.Dir, size(e.Need), size(e.Free), size(e.Size),
		e.Err)
}

// Is reports whether target is errs.NoSpace.
func (e *SpaceError) Is(target error) bool { return target == errs.NoSpace }

// Unwrap returns the kernel's error.
func (e *SpaceError) Unwrap() error { return e.Err }

func size(n int64) string {
	const k = 1 << 10
	switch {
	case n < 10*k:
		return fmt.Sprintf("%d B", n)
	case n < 10*k*k:
		return fmt.Sprintf("%d KiB", n/k)
	case n < 10*k*k*k:
		return fmt.Sprintf("%d MiB", n/k/k)
	}
	return fmt.Sprintf("%d GiB", n/k/k/k)
}

// A FaultError says that memory of the segment could not be accessed. It is errs.Fault.
type FaultError struct {
	Name string // path of the segment
	Addr uintptr
	Err  error // the runtime's error

	ReadOnly bool // the attachment cannot write the memory
}

// Error returns the segment and the likely cause.
func (e *FaultError) Error() string {
	if e.ReadOnly {
		return fmt.Sprintf("fault at %#x in the memory of %s: it was written to and is attached "+
			"read-only, its file was truncated, or a pointer was used after Close; "+
			"attach without Options.ReadOnly to write", e.Addr, e.Name)
	}
	return fmt.Sprintf("fault at %#x in the memory of %s: "+
		"its file was truncated, or a pointer was used after Close", e.Addr, e.Name)
}

// Is reports whether target is errs.Fault.
func (e *FaultError) Is(target error) bool { return target == errs.Fault }

// Unwrap returns the runtime's error.
func (e *FaultError) Unwrap() error { return e.Err }

// Fault returns the error of a fault in a's memory.
func (a *Attachment) Fault(f *mem.Fault) error {
	name := a.path
	if name == "" {
		name = "the anonymous segment"
	}
	return &FaultError{Name: name, Addr: f.Addr, Err: f.Err, ReadOnly: !a.m.Writable()}
}
