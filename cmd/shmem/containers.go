package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A location is the directory of segments that the processes of a container see under the same
// path: a container has a file system of its own there.
type location struct {
	pid  int    // the first process that sees it
	dir  string // leads there, through that process
	name string // of the container; where it is none, "pid N"
}

// inPlace returns the path by which a directory is reached as a process sees it.
func inPlace(pid int, dir string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), "root", dir)
}

// places returns the directories of that path that differ from this process's one, with
// --containers.
func (e *env) places() (all []location) {
	if !e.containers {
		return nil
	}
	key := func(dir string) (k fileKey, ok bool) {
		st, err := os.Stat(dir)
		if err != nil || !st.IsDir() {
			return k, false
		}
		k.dev, k.ino, ok = fileIDOf(st)
		return k, ok
	}
	seen := map[fileKey]bool{}
	if own, ok := key(e.dir); ok {
		seen[own] = true
	}
	for _, pid := range slices.Sorted(pids()) {
		dir := inPlace(pid, e.dir)
		k, ok := key(dir)
		if !ok || seen[k] {
			continue
		}
		seen[k] = true
		name := "pid " + strconv.Itoa(pid)
		if p := readProcess(pid); p != nil {
			name = cmp.Or(p.container, name)
		}
		all = append(all, location{pid, dir, name})
	}
	return all
}

// in is the world as it is there.
func (e *env) in(p location) *env {
	sub := *e
	sub.dir, sub.containers = p.dir, false
	return &sub
}

// isPlace splits the path of a directory that is reached through a process, and returns the path
// that its processes see.
func isPlace(dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(dir, "/proc/")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, "/root/")
	return "/" + rest, ok
}
