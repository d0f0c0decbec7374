package shmemtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	memory      = "/dev/shm"
	basePattern = "shmemtest-"
	tmpfsMagic  = 0x01021994 // TMPFS_MAGIC, linux/magic.h
	subreaper   = 36         // PR_SET_CHILD_SUBREAPER, linux/prctl.h
)

// adopting reports whether orphans become children of this process. Some emulators do not do that.
var adopting bool

func adoptOrphans() {
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, subreaper, 1, 0)
	adopting = errno == 0
}

func dieWithParent(attr *syscall.SysProcAttr) {
	if attr.Pdeathsig == 0 {
		attr.Pdeathsig = syscall.SIGKILL
	}
}

// killGroup kills the members of a process group whose leader has been reaped, and waits until they
// have ended.
func killGroup(pgid int) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if adopting {
			// They are children of this process now.
			pid, err := syscall.Wait4(-pgid, nil, syscall.WNOHANG, nil)
			if err == syscall.EINTR || err == nil && pid > 0 {
				continue
			}
			if err != nil {
				return // ECHILD: none is left.
			}
		} else if !slices.ContainsFunc(processes(), func(s stat) bool {
			return s.pgrp == pgid && s.session == session() && s.state != "Z"
		}) {
			return
		}
		// The group has a member, so the id still means this group.
		syscall.Kill(-pgid, syscall.SIGKILL)
		time.Sleep(100 * time.Microsecond)
	}
}

// session returns the session id from the kernel: an emulator's /proc/self/stat may not have it.
func session() int {
	sid, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
	return int(sid)
}

// A stat is the beginning of /proc/PID/stat.
type stat struct {
	pid, ppid, pgrp, session int
	name, state              string
}

func readStat(path string) (s stat, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return s, false
	}
	// pid (name) state ppid pgrp session; the name may hold any characters.
	text := string(b)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, false
	}
	s.name = text[open+1 : end]
	_, err1 := fmt.Sscan(text[:open], &s.pid)
	_, err2 := fmt.Sscan(text[end+1:], &s.state, &s.ppid, &s.pgrp, &s.session)
	return s, err1 == nil && err2 == nil
}

func processes() (list []stat) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range paths {
		if s, ok := readStat(p); ok {
			list = append(list, s)
		}
	}
	return list
}

// stopped reports whether no thread of the process, or of its group, runs.
func stopped(pid int, group bool) bool {
	pids := []int{pid}
	if group {
		for _, s := range processes() {
			if s.pgrp == pid && s.pid != pid {
				pids = append(pids, s.pid)
			}
		}
	}
	for _, pid := range pids {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if len(paths) == 0 && pid == pids[0] {
			return false // the process has just been reaped
		}
		for _, p := range paths {
			if s, ok := readStat(p); ok && !strings.Contains("TtZX", s.state) {
				return false
			}
		}
		// A process that has ended is not stopped.
		if s, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid)); ok && s.state == "Z" &&
			pid == pids[0] {
			return false
		}
	}
	return true
}

// children returns the children of this process in this session. Those of other sessions are
// daemons.
func children() (list []stat) {
	pid, sid := os.Getpid(), session()
	if me, ok := readStat("/proc/self/stat"); !ok || me.pid != pid {
		return nil // /proc is of another PID namespace.
	}
	for _, s := range processes() {
		if s.ppid == pid && s.session == sid {
			list = append(list, s)
		}
	}
	return list
}

func leftProcesses() (left []string) {
	for _, s := range children() {
		what := "state " + s.state
		if s.state == "Z" {
			what = "ended, not waited for"
		}
		left = append(left, fmt.Sprintf("%d %s (%s)", s.pid, s.name, what))
	}
	return left
}

// endProcesses kills and reaps the children. A process id belongs to the child until it is reaped.
func endProcesses() {
	for _, s := range children() {
		syscall.Kill(s.pid, syscall.SIGKILL)
		for {
			if _, err := syscall.Wait4(s.pid, nil, 0, nil); err != syscall.EINTR {
				break
			}
		}
	}
}

// openFiles returns the descriptors of this process and what they lead to.
func openFiles() (list []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		// The descriptor of the listing itself is closed by now.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}

// mappedFiles returns the mappings of files in memory.
func mappedFiles() (list []string) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// address perms offset device inode path
		path := sc.Text()
		for range 5 {
			_, path, _ = strings.Cut(strings.TrimLeft(path, " "), " ")
		}
		path = strings.TrimLeft(path, " ")
		if strings.HasPrefix(path, memory+"/") || strings.HasPrefix(path, "/memfd:") {
			addr, _, _ := strings.Cut(sc.Text(), " ")
			list = append(list, addr+" "+path)
		}
	}
	return list
}

// findMemory returns the first of the directories that is on a tmpfs.
func findMemory(dirs ...string) (string, error) {
	var all error
	for _, dir := range dirs {
		var st syscall.Statfs_t
		switch err := syscall.Statfs(dir, &st); {
		case dir == "":
		case err != nil:
			all = errors.Join(all, &os.PathError{Op: "statfs", Path: dir, Err: err})
		case uint64(st.Type)&0xffffffff == tmpfsMagic:
			return dir, nil
		default:
			all = errors.Join(all, errors.New(dir+" is not a tmpfs"))
		}
	}
	return "", all
}

// makeBase makes this process's directory, and removes the directories of test processes that were
// killed: they take memory. A directory is in use while its process has a lock on it.
func makeBase() (string, *os.File, error) {
	memory, err := findMemory(memory, os.TempDir(), os.Getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		return "", nil, err
	}
	old, _ := filepath.Glob(memory + "/" + basePattern + "*")
	for _, path := range old {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() ||
			info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			continue
		}
		if f, err := lockDir(path); err == nil {
			os.RemoveAll(path)
			f.Close()
		}
	}
	for range 100 {
		path, err := os.MkdirTemp(memory, basePattern+strconv.Itoa(os.Getpid())+"-")
		if err != nil {
			return "", nil, err
		}
		f, err := lockDir(path)
		if err != nil {
			continue // another process takes it for an old one and removes it
		}
		// other users may pass, for tests with several users
		if err := os.Chmod(path, 0o711); err != nil {
			f.Close()
			os.Remove(path)
			return "", nil, err
		}
		return path, f, nil
	}
	return "", nil, errors.New("cannot lock a directory in " + memory)
}

// lockDir locks a directory that exists and is not in use.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	mine, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(mine, there) {
		f.Close()
		return nil, errors.Join(err, os.ErrNotExist)
	}
	return f, nil
}
