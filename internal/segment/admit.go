package segment

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// admit checks that the open file is one to attach to at all: what it is, where it is, whose it is,
// and whether its maker can truncate it unseen.
func (o *opening) admit(file sys.FD, st sys.Stat) error {
	switch {
	case !st.Mode.IsRegular():
		return NotRegular(st.Mode)
	case !o.cfg.AnyUser && !o.trusts(file, st):
		return otherUser(st.UID)
	case o.from != nil && o.path == "" && !o.cfg.AnyUser && !file.Sealed():
		return fmt.Errorf("%w: its maker can truncate it at any time; "+
			"CreateAnonymous seals what it makes, Options.AnyUser accepts it", errs.Unsealed)
	case !o.cfg.Foreign && !o.cfg.Disk && !inMemory(file, st):
		return onDisk(o.cfg.Dir)
	}
	return nil
}

// NotRegular returns errs.NotRegular for a file of that mode, and says what it is.
func NotRegular(mode fs.FileMode) error {
	return fmt.Errorf("%w: it is %s", errs.NotRegular, kindOf(mode))
}

// kindOf says what a file is that is not a regular one.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link, which is not followed"
	case fs.ModeNamedPipe:
		return "a named pipe (FIFO)"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// trusts reports whether the file is this user's, or is shared with the group of the request.
func (o *opening) trusts(file sys.FD, st sys.Stat) bool {
	return isMine(file, st) || o.gid != noGroup && st.GID == uint32(o.gid)
}

// isMine reports whether an open file belongs to this user. The overflow uid proves nothing: it
// stands for every user that the user namespace does not map. There the kernel is asked.
func isMine(file sys.FD, st sys.Stat) bool {
	me := uint32(os.Geteuid())
	return st.UID == me && (me != sys.OverflowUID() || file.Owned())
}

func otherUser(uid uint32) error {
	if uid == sys.OverflowUID() {
		return fmt.Errorf("%w: uid %d, which in a user namespace stands for every user that is "+
			"not mapped (/proc/self/uid_map), this is uid %d; "+
			"Options.AnyUser accepts it, choose another name otherwise",
			errs.OtherUser, uid, os.Geteuid())
	}
	return fmt.Errorf("%w: uid %d, this is uid %d; Options.Group accepts it if it is shared with "+
		"that group, Options.AnyUser in any case; choose another name otherwise",
		errs.OtherUser, uid, os.Geteuid())
}

// memoryDevice is the device of the last file that was in memory.
var memoryDevice atomic.Uint64

// inMemory reports whether the file is on a file system in memory.
func inMemory(file sys.FD, st sys.Stat) bool {
	if st.Dev == memoryDevice.Load() && st.Dev != 0 {
		return true
	}
	if !file.InMemory() {
		return false
	}
	memoryDevice.Store(st.Dev)
	return true
}

// onDisk returns the error of a directory that is not in memory.
func onDisk(dir string) error {
	return badOption("Options.Dir %s is on a disk, to which every change of the memory is "+
		"written; use a directory on a tmpfs such as /dev/shm, or accept it with Options.Disk", dir)
}

// noGroup is the id of no group.
const noGroup = -1

// groupID returns the id of a group by its name or number; noGroup for "".
func groupID(group string) (int, error) {
	if group == "" {
		return noGroup, nil
	}
	id, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		var ok bool
		if id, ok = sys.GroupID(group); !ok {
			return noGroup, badOption("Options.Group %q: /etc/group has no such group; "+
				"use the name of another one, or its number", group)
		}
	}
	switch uint32(id) {
	case sys.OverflowGID():
		return noGroup, badOption("Options.Group %s: it stands for every group that a user "+
			"namespace does not map; use another group", group)
	case ^uint32(0):
		return noGroup, badOption("Options.Group %s: there is no such group; use another one",
			group)
	}
	return int(id), nil
}

// share gives a new file its group, and its mode whatever the umask is.
func (o *opening) share(a *Attachment) error {
	if o.gid != noGroup {
		if err := a.file.Chgrp(uint32(o.gid)); err != nil {
			return fmt.Errorf("%w: uid %d cannot give a file to group %s; "+
				"only a member of the group or root can", err, os.Geteuid(), o.cfg.Group)
		}
	} else if a.stat.Mode.Perm() == o.cfg.Mode {
		return nil
	}
	return a.file.Chmod(o.cfg.Mode)
}
