//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
)

// contained starts a process of makeSegment in a container of its own: with its own /dev/shm, and
// its own pids. It returns the pid here.
func (s *stage) contained(args ...string) int {
	s.t.Helper()
	up := filepath.Join(s.work, args[1]+"-up")
	cmd := exec.Command("sh", append([]string{"-c",
		`mount -t tmpfs tmpfs /dev/shm && exec "$0" /dev/shm "$@"`,
		filepath.Join(s.work, "segment")}, args...)...)
	cmd.Env = append(os.Environ(), "WORK="+s.work)
	cmd.Stderr = os.Stderr
	id := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	gid := []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{UidMappings: id, GidMappings: gid,
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); errors.Is(err, os.ErrPermission) {
		s.t.Skip("this user may not make containers: ", err)
	} else {
		s.check(err)
	}
	go func() { _ = cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	if !eventually(func() bool { b, _ := os.ReadFile(up); return len(b) > 0 }) {
		s.t.Fatalf("%v is not up", args)
	}
	return cmd.Process.Pid
}

// TestContainer: a process in a container is seen with its pid here and its pid there, by --pid and
// by --containers.
func TestContainer(t *testing.T) {
	s := newStage(t)
	pid := s.contained("hold", "inside", "update")
	run := func(args ...string) string {
		out, err := exec.Command(s.bin, args...).Output()
		if err != nil && len(out) == 0 {
			t.Fatalf("shmem %v: %v", args, err)
		}
		return string(out)
	}
	both := fmt.Sprintf("segment %d (1 there)", pid)
	if out := run("--pid", strconv.Itoa(pid), "ls"); !strings.Contains(out, both) {
		t.Errorf("ls: no %q in\n%s", both, out)
	}
	out := run("--pid", strconv.Itoa(pid), "stat", "inside")
	for _, want := range []string{fmt.Sprintf("%d (1 there)  segment", pid), "owner, holds lock"} {
		if !strings.Contains(out, want) {
			t.Errorf("stat: no %q in\n%s", want, out)
		}
	}
	s.signal(pid, syscall.SIGSTOP)
	all, _ := s.foundIn("--pid", strconv.Itoa(pid), "check", "--json")
	if len(all) != 1 || all[0].PID != pid || all[0].Command != fmt.Sprint("kill -CONT ", pid) {
		t.Errorf("check --pid: %+v", all)
	}
	all, _ = s.foundIn("--containers", "check", "--json", "--held", "1ms")
	found := false
	for _, f := range all {
		found = found || f.Segment == "inside" && f.PID == pid && f.Container == fmt.Sprint("pid ", pid)
	}
	if !found {
		t.Errorf("check --containers: %+v", all)
	}
	if out := run("--containers", "ls"); !strings.Contains(out, fmt.Sprintf("  pid %d  ", pid)) {
		t.Errorf("ls --containers:\n%s", out)
	}
	if out := run("--pid", strconv.Itoa(pid), "ps", strconv.Itoa(pid)); !strings.Contains(out,
		fmt.Sprintf("%d (1) segment  stopped", pid)) {
		t.Errorf("ps:\n%s", out)
	}
}

// TestLostFiles: a file that has lost its name is listed by its old one, with the process that maps
// it, and one that has got a name after it was made is not.
func TestLostFiles(t *testing.T) {
	dir, bin := interruptible(t)
	path := filepath.Join(dir, "psm_lost")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(m) }()
	defer f.Close()
	b, err := shmem.Create[Config]("named", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if code, out, _ := runIn(t, bin, dir, "stat", "psm_lost"); code != 0 ||
		!strings.Contains(out, fmt.Sprintf("shmem.test %d maps it", os.Getpid())) {
		t.Errorf("stat of a foreign file that is mapped:\n%s", out)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, out, _ := runIn(t, bin, dir, "ls")
	for _, want := range []string{"psm_lost", "unlinked", fmt.Sprintf("shmem.test %d", os.Getpid()),
		"2 in " + dir} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestSysV: the kernel's list of System V segments is read by its heads.
func TestSysV(t *testing.T) {
	s := sysvOf(map[string]string{"key": "-1", "shmid": "32769", "perms": "1600", "size": "4096",
		"cpid": "12", "lpid": "13", "nattch": "2", "uid": "1000", "ctime": "1", "rss": "4096"})
	if s.ID != 32769 || s.Key != "0xffffffff" || s.Mode != "-rw-------" || !s.Removed ||
		s.Attached != 2 || s.Creator != 12 || s.Last != 13 || s.Memory != 4096 {
		t.Errorf("%+v", s)
	}
}
