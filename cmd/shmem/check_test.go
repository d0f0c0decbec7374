//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A stage is a machine with broken programs.
type stage struct {
	t              *testing.T
	dir, bin, work string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, work: t.TempDir()}
	s.dir, s.bin = interruptible(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// testscript.Main chooses makeSegment by the name.
	if err := os.Symlink(self, filepath.Join(s.work, "segment")); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts a process of makeSegment, and returns its pid when it is ready.
func (s *stage) start(args ...string) int {
	s.t.Helper()
	up := filepath.Join(s.work, args[1]+"-up")
	_ = os.Remove(up)
	cmd := exec.Command(filepath.Join(s.work, "segment"),
		append([]string{s.dir}, args...)...)
	cmd.Env = append(os.Environ(), "WORK="+s.work)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	if !eventually(func() bool { b, _ := os.ReadFile(up); return len(b) > 0 }) {
		s.t.Fatalf("%v is not up", args)
	}
	return cmd.Process.Pid
}

func (s *stage) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
	eventually(func() bool {
		p := readProcess(pid)
		return sig == syscall.SIGKILL && (p == nil || p.state == "zombie") || p.stopped()
	})
}

// stopped and killed start a process, and stop or kill it.
func (s *stage) stopped(args ...string) int {
	s.t.Helper()
	pid := s.start(args...)
	s.signal(pid, syscall.SIGSTOP)
	return pid
}

func (s *stage) killed(args ...string) int {
	s.t.Helper()
	pid := s.start(args...)
	s.signal(pid, syscall.SIGKILL)
	return pid
}

func (s *stage) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// header changes the header page of a segment.
func (s *stage) header(name string, change func(page []byte)) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	b, err := os.ReadFile(path)
	s.check(err)
	st, err := sys.Lstat(path)
	s.check(err)
	page := b[len(b)-format.HeaderSize:]
	change(page)
	format.Adopt(page, st.Ino, st.Dev)
	s.check(os.WriteFile(path, b, 0o600))
}

// build stages the troubles, and returns who is to blame for each: pids by segment, kind and part.
func (s *stage) build() map[string]int {
	ctx, want := s.t.Context(), map[string]int{}
	want["stopped/stopped-holder"] = s.stopped("hold", "stopped", "update")
	waiter := exec.Command(s.bin, "--dir", s.dir, "set", "--timeout", "2m", "stopped", "Limit=7")
	s.check(waiter.Start())
	s.t.Cleanup(func() { _ = waiter.Process.Kill(); _ = waiter.Wait() })
	want["viewed/stopped-reader"] = s.stopped("hold", "viewed", "view")
	want["locked/stopped-holder/Mu"] = s.stopped("hold", "locked", "lock")
	want["long/long-holder/Mu"] = s.start("hold", "long", "lock")
	want["idle/stopped-process"] = s.stopped("hold", "idle")

	want["idle/few-files"] = s.start("files", "files")
	promised, err := shmem.Create[Promised]("promised", &shmem.Options{Dir: s.dir, Slots: 16,
		Lifetime: shmem.Kept})
	s.check(err)
	s.t.Cleanup(func() { _ = promised.Close() })
	want["promised/dead-promise/Set"] = s.killed("promise", "promised")

	keepers := map[string]int{}
	for _, name := range []string{"dead-box", "dead-mutex", "orphan"} {
		b, err := shmem.Create[Config](name, &shmem.Options{Dir: s.dir, Slots: 16, Lifetime: shmem.Kept})
		s.check(err)
		if name == "orphan" {
			s.check(b.Close())
			s.check(shmem.Remove(s.dir, name))
			continue
		}
		s.t.Cleanup(func() { _ = b.Close() })
	}
	want["dead-box/dead-holder"] = s.killed("hold", "dead-box", "update")
	want["dead-mutex/dead-lock/Mu"] = s.killed("hold", "dead-mutex", "lock")
	owner := s.start("hold", "orphan")
	keepers["orphan"] = s.start("hold", "orphan")
	s.signal(owner, syscall.SIGKILL)
	want["orphan/orphan"] = 0
	s.killed("hold", "garbage")
	want["garbage/garbage"] = 0

	q, err := queue.Create[Job]("wedged", &queue.Options{Dir: s.dir, Capacity: 4})
	s.check(err)
	s.t.Cleanup(func() { _ = q.Close() })
	s.check(q.Send(ctx, Job{}))
	want["wedged/wedged"] = s.stopped("lease", "wedged")
	for q.TrySend(Job{}) == nil {
	}
	go func() { _ = q.Send(ctx, Job{}) }()
	roomy, err := queue.Create[Job]("roomy", &queue.Options{Dir: s.dir, Capacity: 64})
	s.check(err)
	s.t.Cleanup(func() { _ = roomy.Close() })
	s.check(roomy.Send(ctx, Job{}))
	want["roomy/stopped-lease"] = s.stopped("lease", "roomy")
	full, err := queue.Create[Job]("full", &queue.Options{Dir: s.dir, Capacity: 4})
	s.check(err)
	s.t.Cleanup(func() { _ = full.Close() })
	for full.TrySend(Job{}) == nil {
	}
	want["full/full-queue"] = 0
	want["end/stopped-end/sender"] = s.stopped("single", "end")
	want["dead-end/dead-end/sender"] = s.killed("single", "dead-end")

	tp, err := topic.Create[Tick]("held", &topic.Options{Dir: s.dir, Capacity: 4, Holds: 2})
	s.check(err)
	s.t.Cleanup(func() { _ = tp.Close() })
	want["held/held-back"] = s.stopped("behind", "held")
	for tp.TryPublish(Tick{}) == nil {
	}

	var slots []*shmem.Box[Config]
	for range 4 {
		b, err := shmem.Open[Config]("slots", &shmem.Options{Dir: s.dir, Slots: 4})
		s.check(err)
		slots = append(slots, b)
	}
	s.t.Cleanup(func() {
		for _, b := range slots {
			_ = b.Close()
		}
	})
	want["slots/few-slots"] = 0
	s.leftovers(want)
	if !eventually(func() bool {
		st, err := shmem.Stat(s.dir, "stopped")
		return err == nil && len(st.Peers) == 2
	}) {
		s.t.Fatal("no process waits for the stopped one")
	}
	time.Sleep(1100 * time.Millisecond) // a younger segment without a name may be about to get one
	return want
}

// leftovers stages what is wrong with segments as a whole.
func (s *stage) leftovers(want map[string]int) {
	for _, name := range []string{"damaged", "copied", "newer", "lost"} {
		b, err := shmem.Create[Config](name, &shmem.Options{Dir: s.dir, Lifetime: shmem.Kept})
		s.check(err)
		if name == "lost" {
			s.t.Cleanup(func() { _ = b.Close() })
			s.check(shmem.Remove(s.dir, name))
			continue
		}
		s.check(b.Close())
	}
	path := filepath.Join(s.dir, "damaged")
	raw, err := os.ReadFile(path)
	s.check(err)
	raw[len(raw)-format.HeaderSize+format.OffCheck] ^= 1
	s.check(os.WriteFile(path, raw, 0o600))
	raw, err = os.ReadFile(filepath.Join(s.dir, "copied"))
	s.check(err)
	s.check(os.Remove(filepath.Join(s.dir, "copied")))
	s.check(os.WriteFile(filepath.Join(s.dir, "copied"), raw, 0o600))
	s.header("newer", func(page []byte) { page[format.OffVersion]++ })
	want["damaged/damaged"], want["copied/copy"], want["newer/other-version"] = 0, 0, 0
	want["lost/unlinked"] = os.Getpid()
}

// found runs check, and returns what it found by segment, kind and part.
func (s *stage) found(args ...string) (all []trouble, byKey map[string]trouble) {
	return s.foundIn(append([]string{"--dir", s.dir, "check", "--json"}, args...)...)
}

// foundIn is found for a whole command line.
func (s *stage) foundIn(args ...string) (all []trouble, byKey map[string]trouble) {
	s.t.Helper()
	cmd := exec.Command(s.bin, args...)
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 {
		s.t.Fatalf("%v %s", err, out)
	}
	s.check(json.Unmarshal(out, &all))
	if code := cmd.ProcessState.ExitCode(); (code == 1) != (len(all) > 0) {
		s.t.Errorf("exit code %d with %d findings", code, len(all))
	}
	byKey = map[string]trouble{}
	for _, t := range all {
		if strings.HasPrefix(t.Segment, "#") { // its maker knows it by its number
			t.Segment = "lost"
		}
		key := t.Segment + "/" + t.Kind
		if t.Segment == "" {
			key = "idle/" + t.Kind
		}
		if t.Part != "" {
			key += "/" + t.Part
		}
		byKey[key] = t
	}
	return all, byKey
}

// levels says how bad each of what build stages is.
var levels = map[string]string{
	"stopped/stopped-holder": critical, "viewed/stopped-reader": critical,
	"locked/stopped-holder/Mu": critical, "dead-mutex/dead-lock/Mu": critical,
	"wedged/wedged": critical, "end/stopped-end/sender": critical, "held/held-back": critical,
	"slots/few-slots": critical, "long/long-holder/Mu": warning, "idle/stopped-process": warning,
	"idle/few-files": warning, "promised/dead-promise/Set": warning,
	"dead-box/dead-holder": warning, "roomy/stopped-lease": warning, "full/full-queue": warning,
	"dead-end/dead-end/sender": warning, "damaged/damaged": warning, "newer/other-version": warning,
	"orphan/orphan": note, "garbage/garbage": note, "copied/copy": note, "lost/unlinked": note,
}

// worst compares two findings as check sorts them.
func worst(a, b trouble) int {
	return cmp.Or(ranks[a.Level]-ranks[b.Level], b.Waiting-a.Waiting,
		strings.Compare(a.Segment, b.Segment), strings.Compare(a.Kind, b.Kind))
}

// TestBrokenMachine: check finds everything that is staged, with the right process, worst first,
// and the commands that it prints mend what they are for.
func TestBrokenMachine(t *testing.T) {
	s := newStage(t)
	want := s.build()
	all, found := s.found("--held", "300ms")
	for key, pid := range want {
		f, ok := found[key]
		switch {
		case !ok:
			t.Errorf("%s is not found", key)
		case pid != 0 && f.PID != pid:
			t.Errorf("%s: pid %d, want %d: %s", key, f.PID, pid, f.Cause)
		case f.Level != levels[key]:
			t.Errorf("%s is %s, want %s", key, f.Level, levels[key])
		}
	}
	for key, f := range found {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is found, and was not staged: %+v", key, f)
		}
	}
	if !slices.IsSortedFunc(all, worst) || all[0].Waiting == 0 {
		t.Error("the worst does not come first")
	}
	kinds := map[string]bool{}
	for _, f := range all {
		kinds[f.Kind] = true
	}
	if len(kinds) < 20 {
		t.Errorf("%d kinds are staged, want 20", len(kinds))
	}
	if f := found["stopped/stopped-holder"]; f.Waiting != 1 || !strings.Contains(f.Cause, "waited for by") {
		t.Errorf("no process is said to wait: %+v", f)
	}
	out, _ := exec.Command(s.bin, "--dir", s.dir, "check", "--held", "1ms").Output()
	for _, w := range []string{"CRITICAL  stopped: the lock is held by", "→ kill -CONT", "→ shmem --dir "} {
		if !strings.Contains(string(out), w) {
			t.Errorf("no %q in\n%s", w, out)
		}
	}
	s.mend(all)
}

// mend runs the commands of all findings as they are printed, other than those that only show more.
// What a process that goes on still holds may be found afterwards.
func (s *stage) mend(all []trouble) {
	run := map[string]bool{}
	for _, f := range all {
		if strings.HasPrefix(f.Command, "kill ") && !strings.HasPrefix(f.Command, "kill -CONT ") {
			s.t.Errorf("%s: %s ends a process", f.Kind, f.Command)
		}
		if run[f.Command] || !f.Mends {
			continue
		}
		run[f.Command] = true
		cmd := exec.Command("sh", "-c", f.Command)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(s.bin)+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Errorf("%s: %s: %v %s", f.Kind, f.Command, err, out)
		}
	}
	left := map[string]bool{"full/full-queue": true, "dead-end/dead-end/sender": true,
		"orphan/orphan": true, "slots/few-slots": true, "newer/other-version": true,
		"lost/unlinked": true, "promised/dead-promise/Set": true}
	for _, f := range all {
		key := cmp.Or(f.Segment, "idle") + "/" + f.Kind
		if f.Part != "" {
			key += "/" + f.Part
		}
		if mends := !left[key] && f.Kind != "long-holder" && f.Kind != "unlinked"; f.Mends != mends {
			s.t.Errorf("%s: mends is %v: %s", key, f.Mends, f.Command)
		}
	}
	var found map[string]trouble
	ok := eventually(func() bool {
		_, found = s.found("--held", "1ms")
		for key := range found {
			// Those that were stopped go on, and hold as before.
			if !left[key] && !strings.Contains(key, "long-holder") &&
				!strings.Contains(key, "wedged") && !strings.Contains(key, "held-back") {
				return false
			}
		}
		return true
	})
	if !ok {
		for key, f := range found {
			s.t.Errorf("left: %s %+v", key, f)
		}
	}
}

// TestPs: ps says which process it is, what it holds, and what happens if it dies.
func TestPs(t *testing.T) {
	s := newStage(t)
	stopped := s.stopped("hold", "box", "update")
	waits := s.start("hold", "box", "wait")
	run := func(args ...string) string {
		out, err := exec.Command(s.bin, append([]string{"--dir", s.dir, "ps"}, args...)...).Output()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return string(out)
	}
	var text string
	seen := eventually(func() bool { // the process waits a moment after it said that it is up
		text = run("--json")
		var all []psProcess
		s.check(json.Unmarshal([]byte(text), &all))
		of := make(map[int]attachment)
		for _, p := range all {
			of[p.PID] = p.Segments[0]
		}
		return len(all) == 2 && all[0].PID == stopped && slices.Contains(of[stopped].Holds, "lock") &&
			slices.Contains(of[waits].Waits, "change")
	})
	if !seen {
		t.Errorf("want a holder %d and a waiter %d in\n%s", stopped, waits, text)
	}
	list := run()
	for _, want := range []string{ // a pid may have fewer digits than the other
		fmt.Sprintf(`(?m)^ *%d  segment  stopped .*box: lock`, stopped),
		fmt.Sprintf(`(?m)^ *%d  segment  .*box: change`, waits)} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	one := run(strconv.Itoa(stopped))
	for _, want := range []string{"stopped\n", "hold box update", "slot 0, owner", "holds       lock",
		"if it died", "undoes its change"} {
		if !strings.Contains(one, want) {
			t.Errorf("no %q in\n%s", want, one)
		}
	}
	cmd := exec.Command(s.bin, "--dir", s.dir, "ps", "1")
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitAbsent {
		t.Errorf("exit code %d of a process that is not attached", code)
	}
}

// TestCheckWatch: check --watch says when a trouble is new, and when it is over.
func TestCheckWatch(t *testing.T) {
	s := newStage(t)
	b, err := shmem.Create[Config]("box", &shmem.Options{Dir: s.dir, Slots: 16})
	s.check(err)
	defer b.Close()
	cmd := exec.Command(s.bin, "--dir", s.dir, "check", "--watch", "-i", "50ms", "--json",
		"--held", "10ms", "--level", "warning")
	out, err := cmd.StdoutPipe()
	s.check(err)
	s.check(cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	d := json.NewDecoder(out)
	want := func(event string, pid int) {
		t.Helper()
		var ev checkEvent
		s.check(d.Decode(&ev))
		if ev.Event != event || ev.Kind != "stopped-holder" || ev.PID != pid || ev.Segment != "box" {
			t.Fatalf("%+v, want %s of %d", ev, event, pid)
		}
	}
	pid := s.start("hold", "box", "update")
	s.signal(pid, syscall.SIGSTOP)
	for { // until then it was a long holder
		var ev checkEvent
		s.check(d.Decode(&ev))
		if ev.Kind == "stopped-holder" && ev.Event == eventNew && ev.PID == pid {
			break
		}
	}
	s.signal(pid, syscall.SIGKILL)
	want(eventOver, pid)
	var dead checkEvent
	s.check(d.Decode(&dead))
	if dead.Kind != "dead-holder" || !dead.Mends {
		t.Fatalf("%+v", dead)
	}
	s.check(cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d with a finding at the end", code)
	}
	if code, text, _ := runIn(t, s.bin, s.dir, "check", "-w", "-n", "1", "--held", "1ms"); code !=
		exitFailed || !strings.Contains(text, " new\n") || !strings.Contains(text, "→ shmem") {
		t.Errorf("exit code %d: %s", code, text)
	}
	if code, text, _ := runIn(t, s.bin, s.dir, "check", "--level", "critical", "--held", "1ms"); code != 0 {
		t.Errorf("exit code %d: %s", code, text)
	}
}
