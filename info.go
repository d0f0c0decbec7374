package shmem

import (
	"io/fs"
	"iter"
	"time"

	"github.com/shmembox/shmem/internal/segment"
)

// A State says whether a segment is in use and, if it is not, what becomes of it.
type State int

// States of a segment.
const (
	Live         State = iota + 1 // attached; its owner lives, or it is shared or kept
	Orphaned                      // the owner has died; the last of those attached unlinks it
	Idle                          // no process is attached, and it stays: kept, or unread messages
	Garbage                       // no process is attached, its value is lost; Open starts afresh
	Foreign                       // another program's file
	Copied                        // a copy of a segment's file; only Remove removes it
	OtherVersion                  // of another format version; only Remove removes it
	Damaged                       // the control block cannot be read; only Remove removes it
)

// String returns the state in a word.
func (s State) String() string { return segment.State(s).String() }

// A Peer is an attachment, as its record in the segment says.
type Peer struct {
	Slot         int       // index of its record in the segment, from 0
	ID           uint32    // of the attachment, see Segment.ID
	PID          int       // process id, in the PID namespace of the process
	PIDNamespace uint64    // inode of that namespace; PID means something only in the same one
	Since        time.Time // when it attached, by the clock of its process
	ReadOnly     bool      // it cannot write the value
	Passive      bool      // it has no part in the segment's life, see Options.Passive
	Owner        bool      // it owns the segment
}

// Info describes a segment. All of it may have changed by the time the caller reads it.
type Info struct {
	Name  string // name of the segment
	Path  string // path of its file
	State State  // what can be said of it from outside; 0 if unknown
	Err   error  // why it is Copied, OtherVersion or Damaged

	Size  int64       // bytes of the payload; of the file if it is foreign
	File  int64       // bytes of the whole file
	InUse int64       // bytes of memory that the file takes
	Mode  fs.FileMode // permission bits and kind of the file
	UID   int         // user that owns the file

	Type        string // type of the value as Go writes it; "" if unknown
	Fingerprint uint64 // fingerprint of that type; 0 if unknown
	Slots       int    // attachments that there can be at a time

	Created time.Time // when it was created, or, of an unreadable file, last written
	Program string    // program that created it
	Owner   *Peer     // nil if no living attachment owns it

	// Lifetime is when it ends, as its owner word says now: Own makes it Owned, Leak makes it Kept.
	// After the death of an owner it is what the segment was created as. 0: unknown.
	Lifetime Lifetime
	Unread   int // messages that the next receiver of an Idle queue finds

	Peers   []Peer // attachments, the owner included; not those that can only read the file
	Readers bool   // an attachment exists that can only read the file
}

// Stat describes the segment of that name in dir; an empty dir is /dev/shm. It takes no lock and
// does not attach, so it never changes what becomes of the segment. If there is none the error is
// fs.ErrNotExist.
func Stat(dir, name string) (Info, error) {
	l, err := segment.Stat(dir, name)
	return infoOf(l), public("stat", name, err)
}

// List describes every segment and every other regular file in dir, sorted by name; an empty dir
// is /dev/shm. Like Stat it takes no lock. A file that cannot be described is yielded with its
// name and the error; an error of the directory itself is yielded with a zero Info. Files that
// vanish meanwhile are left out.
func List(dir string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for l, err := range segment.List(dir) {
			if l.Name == "" { // the directory
				yield(Info{}, public("list", l.Path, err))
				return
			}
			if !yield(infoOf(l), public("list", l.Name, err)) {
				return
			}
		}
	}
}

// Remove unlinks the name in dir, whatever the file is; an empty dir is /dev/shm. Processes that
// are attached continue with what they have, and the owner's Close still drops the value, once.
// They are told: see Segment.Unlinked and ErrUnlinked. If there is nothing of that name the error
// is fs.ErrNotExist.
func Remove(dir, name string) error { return public("remove", name, segment.Remove(dir, name)) }

// Reclaim unlinks all garbage of this user in dir; an empty dir is /dev/shm. Garbage is a segment
// that no process is attached to and that does not stay, or a file whose maker died before it was
// complete. A shared queue with unread messages stays (Info.Unread). Reclaim yields each file that
// it has unlinked, and each that it could not unlink with the error. It does not wait for a busy
// file, and leaves all others alone.
//
// Values are not dropped: that of a dead process may be half changed.
func Reclaim(dir string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for l, err := range segment.Reclaim(dir) {
			if !yield(infoOf(l), public("reclaim", l.Name, err)) {
				return
			}
		}
	}
}

// infoOf converts what the internal layer has seen.
func infoOf(l segment.Look) Info {
	i := Info{
		Name: l.Name, Path: l.Path, State: State(l.State), Err: l.Err,
		Size: l.Size, File: l.File, InUse: l.InUse, Mode: l.Mode, UID: l.UID,
		Type: l.Type, Fingerprint: l.Fingerprint, Slots: l.Slots,
		Created: l.Created, Program: l.Program, Owner: (*Peer)(l.Owner), Readers: l.Readers,
		Lifetime: Lifetime(l.Lifetime), Unread: l.Unread,
	}
	for _, p := range l.Peers {
		i.Peers = append(i.Peers, Peer(p))
	}
	return i
}
