package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

// couldBeSegment reports whether a segment can have that name; see shmem.ErrBadName.
func couldBeSegment(name string) bool {
	return name != "" && len(name) <= shmem.MaxName && isName("x"+name) && name[0] != '.'
}

// openPath opens the file at a path, which may be relative.
func openPath(path string) (*inspect.Observer, error) {
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	return inspect.Open("", path)
}

// otherFile looks at what no segment could be: a file whose name ShmemBox could not have made, or a
// directory. These take memory too.
func otherFile(dir, name string) (row, bool) {
	path := filepath.Join(dir, name)
	st, err := sys.Lstat(path)
	switch {
	case err != nil:
		return row{}, false
	case st.Mode.IsDir():
		return directory(path, name, st), true
	case !st.Mode.IsRegular() || couldBeSegment(name):
		return row{}, false
	}
	r := row{Info: shmem.Info{Name: name, Path: path, State: shmem.Foreign, Size: st.Size,
		File: st.Size, InUse: st.Blocks * 512, Mode: st.Mode, UID: int(st.UID),
		Created: st.Modified}}
	o, err := openPath(path)
	if err != nil {
		r.err = err
		r.fromOutside()
		return r, true
	}
	defer o.Close()
	r.Info = o.Info()
	r.Name, r.Path = name, path
	return r, true
}

// maxWalk bounds how many files of directories are counted.
const maxWalk = 100_000

// directory is a row for all that is in a directory.
func directory(path, name string, st sys.Stat) row {
	r := row{what: "directory", Info: shmem.Info{Name: name, Path: path, State: shmem.Foreign,
		Mode: st.Mode, UID: int(st.UID), Created: st.Modified, InUse: st.Blocks * 512}}
	seen, n := map[uint64]bool{}, 0
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if n++; n > maxWalk {
			return fs.SkipAll
		}
		if err != nil {
			return fs.SkipDir
		}
		f, err := sys.Lstat(p)
		if err != nil || p == path || f.Dev != st.Dev || seen[f.Ino] { // a mount, or a hard link
			return nil
		}
		seen[f.Ino] = true
		r.InUse += f.Blocks * 512
		r.Size += f.Size
		return nil
	})
	r.File = r.Size
	return r
}

// lostFiles adds to rows the files of other programs that have lost their names while a process
// maps them or has them open. inspect.Unlinked has the segments.
func (e *env) lostFiles(rows []row, patterns []string) []row {
	dir, dev, ok := deviceOf(e.dir)
	if !ok || e.alone {
		return rows
	}
	known := map[uint64]bool{}
	for _, r := range rows {
		if st, err := os.Stat(r.Path); err == nil && r.unlinked {
			_, ino, _ := fileIDOf(st)
			known[ino] = true
		}
	}
	index := map[uint64]int{}
	for _, pid := range slices.Sorted(pids()) {
		for ino, f := range lostOf(pid, dev, dir) {
			if known[ino] || !match(patterns, f.name) {
				continue
			}
			i, ok := index[ino]
			if !ok {
				r, lost := lostRow(f)
				if known[ino] = !lost; !lost {
					continue
				}
				i = len(rows)
				index[ino] = i
				rows = append(rows, r)
			}
			rows[i].users = append(rows[i].users, f.user)
		}
	}
	return rows
}

// lostRow is a row for a file of another program without a name. It reports false for a file that
// has a name after all: one that was made without a name, and got it later, is told by no name too.
func lostRow(f lostFile) (row, bool) {
	fd, err := sys.OpenAny(f.via, false)
	if err != nil {
		return row{}, false // it cannot be told
	}
	defer fd.Close()
	st, err := fd.Stat()
	if err != nil || st.Nlink > 0 {
		return row{}, false
	}
	if o, err := openPath(f.via); err == nil { // a segment that is being made, or has just been
		state := o.Info().State
		if o.Close(); state != shmem.Foreign {
			return row{}, false
		}
	}
	return row{unlinked: true, ps: new(procs), Info: shmem.Info{Name: f.name, Path: f.via,
		State: shmem.Foreign, Size: st.Size, File: st.Size, InUse: st.Blocks * 512, Mode: st.Mode,
		UID: int(st.UID), Created: st.Modified}}, true
}

// hidden returns how much memory the file system uses beyond that of the rows, if the directory is
// the whole of one in memory: that of files that have lost their names, and are no segments.
func (e *env) hidden(rows []row) int64 {
	m, err := sys.MountOf(e.dir)
	if err != nil || m.Type != sys.TmpfsMagic || m.Size == 0 {
		return 0
	}
	dir, err := sys.Lstat(e.dir)
	above, err2 := sys.Lstat(filepath.Join(e.dir, ".."))
	if err != nil || err2 != nil || dir.Dev == above.Dev {
		return 0
	}
	rest := m.Size - m.Avail
	seen := map[uint64]bool{}
	for _, r := range rows {
		if st, err := os.Stat(r.Path); err == nil {
			_, ino, ok := fileIDOf(st)
			if ok && seen[ino] {
				continue
			}
			seen[ino] = true
		}
		rest -= r.InUse
	}
	return max(rest, 0)
}
