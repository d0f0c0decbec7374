package inspect

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/sys"
)

// Unlinked finds the segments of directory dir ("" is the default one) that have lost their name
// while processes are attached: after Remove, after rm, or after Python's resource tracker. It does
// not return a segment that its owner has dropped.
//
// Unlinked looks through the open files in /proc, and so finds only segments of processes that this
// user may look into. The Path of an Info leads to the segment as long as that process lives. If no
// process has opened the segment by its name, its Name is # and a number.
func Unlinked(dir string) ([]shmem.Info, error) {
	if dir == "" {
		dir = sys.DefaultDir
	}
	var dev uint64 // none, if there is no directory
	if st, err := sys.Lstat(dir + "/."); err == nil {
		dev = st.Dev
	}
	dir = toldPath(dir)
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, &shmem.Error{Op: "inspect unlinked", Name: dir, Err: err}
	}
	u := unlinked{dir: dir, dev: dev, seen: map[mem.FileID]int{}}
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err == nil {
			u.process(filepath.Join("/proc", p.Name(), "fd"))
		}
	}
	return u.all, nil
}

// toldPath returns the path of a directory as the kernel tells it of files there: without links,
// and as the processes see it if the directory is reached through the root of one of them.
func toldPath(dir string) string {
	if rest, ok := strings.CutPrefix(dir, "/proc/"); ok {
		if _, rest, ok = strings.Cut(rest, "/root/"); ok {
			return "/" + rest
		}
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		return resolved
	}
	return dir
}

// unlinked collects segments without a name.
type unlinked struct {
	dir  string // as the kernel tells it of files there
	dev  uint64 // their device
	all  []shmem.Info
	seen map[mem.FileID]int // index in all
}

// process looks at the open files of a process, by its directory of descriptors. A process that
// ends meanwhile, or that this user may not look into, has none.
func (u *unlinked) process(fds string) {
	d, err := os.Open(fds)
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1)
	_ = d.Close()
	for _, fd := range names {
		path := filepath.Join(fds, fd)
		to, err := os.Readlink(path)
		if err != nil {
			continue
		}
		to, gone := strings.CutSuffix(to, " (deleted)")
		name := filepath.Base(to)
		if gone && filepath.Dir(to) == u.dir && name[0] != '.' {
			u.add(path, name)
		}
	}
}

// add adds the segment that a path leads to, once. A segment is made as a nameless file, which
// /proc shows as # and a number to its creator, and by its name to the processes that attached
// later: the name is preferred.
func (u *unlinked) add(path, name string) {
	info, id, err := lookUnlinked(path, name)
	if err != nil || id.Dev != u.dev { // a directory of the same path elsewhere
		return
	}
	if n, ok := u.seen[id]; !ok {
		u.seen[id] = len(u.all)
		u.all = append(u.all, info)
	} else if u.all[n].Name[0] == '#' {
		u.all[n] = info
	}
}

var errNotLost = errors.New("not a segment that has lost its name")

// newborn is how old a nameless segment must be to count as one that has lost its name: a younger
// one may be about to get it.
const newborn = time.Second

func lookUnlinked(path, name string) (info shmem.Info, id mem.FileID, err error) {
	file, err := sys.OpenAny(path, false)
	if err != nil {
		return info, id, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return info, id, err
	}
	l, err := segment.LookFile(file, path, name)
	if err != nil {
		return info, id, err
	}
	info = segment.Shmem.Info(l).(shmem.Info)
	making := name[0] == '#' && time.Since(info.Created) < newborn
	if l.Header == nil || st.Nlink > 0 || making || info.Err != nil ||
		info.State == shmem.Garbage {
		return info, id, errNotLost
	}
	return info, mem.FileID{Dev: st.Dev, Ino: st.Ino}, nil
}
