//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// runIn runs the command in a directory of segments.
func runIn(t *testing.T, bin, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"--dir", dir}, args...)...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// TestRmInUse: rm refuses a file that a process maps or has open, says who, and says what is lost.
func TestRmInUse(t *testing.T) {
	dir, bin := interruptible(t)
	mapped, open := filepath.Join(dir, "mapped"), filepath.Join(dir, "open")
	for _, path := range []string{mapped, open} {
		if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(mapped, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	g, err := os.Open(open)
	if err != nil {
		t.Fatal(err)
	}
	for name, what := range map[string]string{"mapped": "maps it", "open": "has it open"} {
		for _, n := range []string{"--dry-run", "--json"} {
			code, _, errs := runIn(t, bin, dir, "rm", n, name)
			want := fmt.Sprintf("%s is in use: shmem.test %d %s", name, os.Getpid(), what)
			if code != exitRefused || !strings.Contains(errs, want) {
				t.Errorf("rm %s %s: exit code %d: %s, want %s", n, name, code, errs, want)
			}
		}
	}
	if code, _, errs := runIn(t, bin, dir, "rm", "--force", "open"); code != 0 {
		t.Error(errs)
	}
	g.Close()
	if err := syscall.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runIn(t, bin, dir, "rm", "mapped"); code != 0 {
		t.Error(errs)
	}
}

// TestLosses: rm and gc say how many unread messages are lost, and dry runs say it before.
func TestLosses(t *testing.T) {
	s := newStage(t)
	q, err := queue.Create[Job]("kept", &queue.Options{Dir: s.dir, Capacity: 8,
		Lifetime: shmem.Kept})
	s.check(err)
	for range 3 {
		s.check(q.Send(t.Context(), Job{}))
	}
	s.check(q.Close())
	if code, out, errs := runIn(t, s.bin, s.dir, "rm", "-n", "kept"); code != 0 ||
		!strings.Contains(out, "3 unread messages are lost") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, out, errs := runIn(t, s.bin, s.dir, "rm", "kept"); code != 0 ||
		!strings.Contains(errs, "kept: 3 unread messages are lost") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if _, err := shmem.Stat(s.dir, "kept"); err == nil {
		t.Error("it is still there")
	}
	s.killed("owned", "dead")
	for _, args := range [][]string{{"gc", "-n"}, {"gc"}} {
		if _, out, _ := runIn(t, s.bin, s.dir, args...); !strings.Contains(out,
			"2 unread messages are lost") {
			t.Errorf("%v does not say what is lost: %s", args, out)
		}
	}
}

// TestDryRunPromises: gc does exactly what gc --dry-run says, with the same words.
func TestDryRunPromises(t *testing.T) {
	s := newStage(t)
	s.leftovers(map[string]int{})
	s.killed("hold", "garbage")
	s.killed("owned", "dead-queue")
	for _, name := range []string{".shmem-tmp123", ".shmem-" + strings.Repeat("0a", 16),
		".shmem-" + strings.Repeat("0A", 16), "a b", ".hidden", "foreign",
		".shmem-" + strings.Repeat("0", 31), ".shmem-" + strings.Repeat("0", 33)} {
		s.check(os.WriteFile(filepath.Join(s.dir, name), []byte("x"), 0o600))
	}
	s.check(os.Mkdir(filepath.Join(s.dir, ".shmem-"+strings.Repeat("1", 32)), 0o700))
	s.check(syscall.Mkfifo(filepath.Join(s.dir, ".shmem-"+strings.Repeat("2", 32)), 0o600))
	s.check(os.Symlink("foreign", filepath.Join(s.dir, ".shmem-"+strings.Repeat("3", 32))))
	// garbage of a name that no segment can have
	s.killed("hold", "renamed")
	s.check(os.Rename(filepath.Join(s.dir, "renamed"), filepath.Join(s.dir, "re named")))
	taken := func(args ...string) (names []string) {
		_, out, _ := runIn(t, s.bin, s.dir, args...)
		var all []verdict
		s.check(json.Unmarshal([]byte(out), &all))
		for _, v := range all {
			if v.Taken {
				names = append(names, fmt.Sprintf("%s: %s", v.Name, v.Why))
			}
		}
		slices.Sort(names)
		return names
	}
	list := func() (names []string) {
		files, err := os.ReadDir(s.dir)
		s.check(err)
		for _, f := range files {
			names = append(names, f.Name())
		}
		return names
	}
	before := list()
	promised := taken("gc", "-n", "--json")
	if !slices.Equal(list(), before) {
		t.Error("a dry run changed something")
	}
	done := taken("gc", "--json")
	age := func(all []string) (texts []string) {
		for _, s := range all {
			texts = append(texts, strings.NewReplacer("0s", "1s", "2s", "1s", "3s", "1s").Replace(s))
		}
		return texts
	}
	if !slices.Equal(age(promised), age(done)) || len(done) < 4 {
		t.Errorf("promised %q\ndone     %q", promised, done)
	}
	var gone []string
	for _, n := range before {
		if !slices.Contains(list(), n) {
			gone = append(gone, n)
		}
	}
	for _, n := range gone {
		if !slices.ContainsFunc(promised, func(p string) bool { return strings.HasPrefix(p, n+": ") }) {
			t.Errorf("%s is gone, and that was not said", n)
		}
	}
	if len(gone) != len(done) {
		t.Errorf("%q are gone, %q were said", gone, done)
	}
}

// TestForeignGarbage: gc --foreign removes the files of other programs that no process maps or has
// open, says why the others stay, and does nothing of it without the flag.
func TestForeignGarbage(t *testing.T) {
	s := newStage(t)
	file := func(name string) string {
		path := filepath.Join(s.dir, name)
		s.check(os.WriteFile(path, make([]byte, 8192), 0o600))
		return path
	}
	mapped, err := os.OpenFile(file("mapped"), os.O_RDWR, 0)
	s.check(err)
	m, err := syscall.Mmap(int(mapped.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED)
	s.check(err)
	defer func() { _ = syscall.Munmap(m) }()
	s.check(mapped.Close())
	open, err := os.Open(file("open"))
	s.check(err)
	defer open.Close()
	for _, name := range []string{"psm_left", "a b", ".hidden", "-n"} {
		file(name)
	}
	s.check(os.Mkdir(filepath.Join(s.dir, "directory"), 0o700))
	b, err := shmem.Create[Config]("live", &shmem.Options{Dir: s.dir})
	s.check(err)
	defer b.Close()
	verdicts := func(args ...string) map[string]verdict {
		code, out, errs := runIn(t, s.bin, s.dir, append([]string{"gc", "--json"}, args...)...)
		var all []verdict
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
			t.Fatal(code, err, errs)
		}
		byName := map[string]verdict{}
		for _, v := range all {
			byName[v.Name] = v
		}
		return byName
	}
	if all := verdicts(); len(all) != 0 {
		t.Errorf("without --foreign: %+v", all)
	}
	me := fmt.Sprintf("shmem.test %d ", os.Getpid())
	for _, args := range [][]string{{"--foreign", "-n"}, {"--foreign"}} {
		all := verdicts(args...)
		for name, want := range map[string]string{
			"mapped": "in use: " + me + "maps it", "open": "in use: " + me + "has it open",
			"directory": "a directory", "psm_left": "no process maps it", "a b": "no process maps it",
			".hidden": "no process maps it", "-n": "no process maps it",
		} {
			v, ok := all[name]
			if taken := strings.HasPrefix(want, "no process"); !ok || v.Taken != taken ||
				!strings.Contains(v.Why, want) {
				t.Errorf("%v %s: %+v, want %q", args, name, v, want)
			}
		}
	}
	var left []string
	files, err := os.ReadDir(s.dir)
	s.check(err)
	for _, f := range files {
		left = append(left, f.Name())
	}
	if want := []string{"directory", "live", "mapped", "open"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}

// TestSumIsThatOfDf: all that takes memory is listed, whatever its name.
func TestSumIsThatOfDf(t *testing.T) {
	dir, bin := interruptible(t)
	write := func(name string, n int) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"plain", "two words", ".hidden", "new\nline", "esc\x1b[31m",
		"dir/a", "dir/deep/b c", ".dir/x", "größe", "\xff", "-dash", strings.Repeat("n", 255)} {
		write(name, (i+1)*4096)
	}
	if err := os.Link(filepath.Join(dir, "dir/a"), filepath.Join(dir, "dir/again")); err != nil {
		t.Fatal(err)
	}
	b, err := shmem.Create[Config]("box", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var all []struct {
		Name   string
		Memory int64
	}
	_, out, errs := runIn(t, bin, dir, "ls", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err, errs)
	}
	sum := int64(0)
	for _, r := range all {
		sum += r.Memory
	}
	du, err := exec.Command("du", "-s", "--block-size=1", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(string(du))[0]; fmt.Sprint(sum) != want {
		t.Errorf("ls has %d bytes, du %s:\n%s", sum, want, out)
	}
	if _, out, _ := runIn(t, bin, dir, "ls"); !strings.Contains(out, `new\nline`) ||
		!strings.Contains(out, "dir") || !strings.Contains(out, "directory") {
		t.Error(out)
	}
}

// TestFewDescriptors: ls and top look at more segments than a process may have open.
func TestFewDescriptors(t *testing.T) {
	dir, bin := interruptible(t)
	const n = 600
	for i := range n {
		b, err := shmem.Create[[8]byte](fmt.Sprintf("box-%d", i),
			&shmem.Options{Dir: dir, Slots: 1, Lifetime: shmem.Kept})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"ls", "top -n 2 -i 10ms", "check", "ps", "gc -n"} {
		out, err := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n 100; %s --dir %s %s", bin, dir,
			line)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v %.300s", line, err, out)
		}
		if line[0] == 't' && strings.Count(string(out), "idle") != 2*n {
			t.Errorf("%s shows %d of %d", line, strings.Count(string(out), "idle"), 2*n)
		}
	}
}

// TestRemovedHalfway: a Remove that died after it had given the segment a temporary name leaves
// garbage, whatever the lifetime was and whatever is in it. What a process still uses stays.
func TestRemovedHalfway(t *testing.T) {
	dir, bin := interruptible(t)
	for _, l := range []shmem.Lifetime{shmem.Owned, shmem.Shared, shmem.Kept} {
		b, err := shmem.Open[int64](fmt.Sprint("used-", l), &shmem.Options{Dir: dir, Lifetime: l})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
	}
	kept, err := shmem.Open[int64]("kept", &shmem.Options{Dir: dir, Lifetime: shmem.Kept})
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open[int64]("unread", &queue.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(kept.Close(), q.Send(t.Context(), 1), q.Close()); err != nil {
		t.Fatal(err)
	}
	moved := map[string]string{}
	for i, name := range []string{"used-owned", "used-shared", "used-kept", "kept", "unread"} {
		temp := fmt.Sprintf(".shmem-%032x", i)
		moved[temp] = name
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, temp)); err != nil {
			t.Fatal(err)
		}
	}
	const why = "a process died while making or removing it"
	_, checked, _ := runIn(t, bin, dir, "check")
	for temp, name := range moved {
		used := strings.HasPrefix(name, "used")
		state, fate := "garbage", why
		if used {
			state, fate = "live", "temporary name"
		}
		_, out, errs := runIn(t, bin, dir, "stat", temp)
		out = strings.Join(strings.Fields(out), " ")
		if !strings.HasPrefix(out, temp+" "+state) || !strings.Contains(out, fate) {
			t.Errorf("stat of %s, which was %s:\n%s%s", temp, name, out, errs)
		}
		if n := strings.Contains(checked, temp); n == used {
			t.Errorf("check names %s, which was %s: %v\n%s", temp, name, n, checked)
		}
	}
	for _, n := range []string{"--dry-run", "--json"} {
		_, out, errs := runIn(t, bin, dir, "gc", n, "--json")
		var all []verdict
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatal(err, errs)
		}
		for _, v := range all {
			used := strings.HasPrefix(moved[v.Name], "used")
			want := why
			if used {
				want = "others are attached"
			}
			if v.Taken == used || !strings.Contains(v.Why, want) {
				t.Errorf("gc %s: %+v, which was %s", n, v, moved[v.Name])
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("%v, %v are left", left, err)
	}
}
