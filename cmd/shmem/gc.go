package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/sys"
)

// gcCmd removes garbage by shmem.Reclaim, or says what that would remove.
type gcCmd struct {
	DryRun  bool `short:"n" name:"dry-run" help:"Say what would be removed, and why the rest not; change nothing."`
	Foreign bool `help:"Also files of other programs that no process maps or has open."`
	JSON    bool `name:"json" help:"JSON."`
}

func (*gcCmd) Help() string {
	return `Garbage is a segment whose owner has died and that no process is attached to, and a file
that a process died over while making or removing it. gc removes only this user's. The kernel says
which processes are attached, by locks that vanish with their process: pids do not matter, and there
is no grace period. Values are not dropped (T.Drop does not run): that of a dead process may be half
changed. Unread messages of a queue are lost; gc says how many. --dry-run makes the same decisions,
and changes nothing.

With --foreign it also removes this user's files of other programs that no process uses, such as a
crash leaves, and says why it leaves the others. The kernel is asked, by a lease of the file: no
process maps it or has it open, in whatever container. A program may have left a file on purpose
for one that has not started yet: use it when such programs have ended.`
}

// A verdict says what gc does with a segment, and why.
type verdict struct {
	Name   string  `json:"name"`
	Taken  bool    `json:"taken"` // removed, or to be removed
	Memory num     `json:"memory"`
	Lost   count64 `json:"lost"` // unread messages that are lost with it
	Why    string  `json:"why"`
	failed bool

	foreign bool // another program's file
	shown   bool // also where it stays, and without --dry-run
}

func (c *gcCmd) Run(e *env) error {
	all, err := c.judgeAll(e)
	if err != nil {
		return err
	}
	verb := "would be removed"
	if !c.DryRun {
		verb, all = "removed", e.carryOut(all)
	}
	if c.JSON {
		if err := e.json(all); err != nil {
			return err
		}
	} else {
		e.showVerdicts(all, verb)
	}
	for _, v := range all {
		if v.failed {
			return exitError(exitFailed)
		}
	}
	return nil
}

// carryOut removes what is to be removed. It returns the verdicts on that, and on what is to be
// shown though it stays.
func (e *env) carryOut(all []verdict) []verdict {
	done := []verdict{}
	for _, v := range all {
		if !v.Taken {
			if v.shown {
				done = append(done, v)
			}
			continue
		}
		remove := func() (unlinked bool, err error) {
			_, unlinked, err = segment.ReclaimFile(e.dir, v.Name)
			return unlinked, err
		}
		if v.foreign {
			remove = func() (bool, error) { return removeUnused(filepath.Join(e.dir, v.Name)) }
		}
		switch unlinked, err := remove(); {
		case err != nil:
			v.Taken, v.Why, v.failed, v.Lost = false, reason(err), true, 0
		case !unlinked:
			v.Taken, v.Why, v.Lost = false, "it has changed meanwhile", 0
		}
		done = append(done, v)
	}
	return done
}

// judgeAll returns a verdict for every file and directory, and changes nothing.
func (c *gcCmd) judgeAll(e *env) ([]verdict, error) {
	names, err := e.names()
	if err != nil {
		return nil, err
	}
	all := []verdict{}
	var users map[fileKey][]user // nil until it is needed
	var ps procs
	for _, r := range e.rowsOf(names, nil) {
		switch {
		case segment.IsTemp(r.Name) && !r.unlinked: // see below
		case c.Foreign && r.State == shmem.Foreign && r.err == nil && !r.unlinked:
			if users == nil {
				users = fileUsers(e.dir)
			}
			all = append(all, judgeForeign(r, users, &ps))
		default:
			all = append(all, judge(r))
		}
	}
	for _, name := range names { // those that are being made, or that a process died over
		if segment.IsTemp(name) {
			all = append(all, judgeUnfinished(filepath.Join(e.dir, name), name))
		}
	}
	return all, nil
}

// showVerdicts prints a table, and a line with the sum. verb says what was done.
func (e *env) showVerdicts(all []verdict, verb string) {
	var rows [][]string
	n, memory := 0, int64(0)
	for _, v := range all {
		what := "leave"
		switch {
		case v.failed:
			what = "failed"
		case v.Taken:
			what, n, memory = "remove", n+1, memory+int64(v.Memory)
		}
		rows = append(rows, []string{v.Name, what, size(int64(v.Memory)), v.Why})
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "NAME", least: 10, paint: painted(e.style.bold)},
			{head: "DO", paint: func(i int, s string) string {
				switch {
				case all[i].failed:
					return e.style.red(s)
				case all[i].Taken:
					return e.style.green(s)
				}
				return e.style.faint(s)
			}},
			{head: "MEM", right: true, last: 1}, {head: "WHY", least: 20, fold: true},
		}, rows)
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d %s, %s of memory", n, verb,
		bytesText(memory))))
}

// whyUnfinished is why a file with a temporary name is garbage.
const whyUnfinished = "a process died while making or removing it"

func whyGarbage(info shmem.Info) string {
	if segment.IsTemp(info.Name) {
		return whyUnfinished
	}
	why := "owner dead, no process attached"
	if info.Lifetime == shmem.Shared {
		why = "no process attached"
	}
	return fmt.Sprintf("%s; made by %s %s ago",
		why, clean(info.Program), since(info.Created))
}

// judge says what gc would do with a segment, by the rules of shmem.Reclaim.
func judge(r row) verdict {
	v := verdict{Name: r.Name, Memory: num(r.InUse)}
	switch {
	case r.Name != "" && !couldBeSegment(r.Name) && !r.unlinked:
		v.Why = "no segment can have that name: it is another program's; rm(1) removes it"
	case r.err != nil:
		v.Why = "cannot be read: " + reason(r.err)
	case r.unlinked:
		v.Why = "has no name; its memory is freed with the last process attached"
	case r.State == shmem.Garbage && !isOwn(r.Info):
		v.Why = fmt.Sprintf("garbage, but of user %s; run gc as that user", userName(r.UID))
	case r.State == shmem.Garbage:
		v.Taken, v.Why, v.Lost = true, whyGarbage(r.Info), r.unread
		if v.Lost > 0 {
			v.Why += "; " + lostText(v.Lost)
		}
	case r.State == shmem.Live && r.Owner != nil:
		v.Why = "its owner lives: " + process(r.ps, *r.Owner, clean(r.Program))
	case r.State == shmem.Live:
		v.Why = fmt.Sprintf("%v, and %d attached", r.Lifetime, max(len(r.Peers), 1))
	case r.State == shmem.Orphaned:
		v.Why = fmt.Sprintf("its owner has died, but %d still attached", max(len(r.Peers), 1))
	case r.State == shmem.Idle && r.Unread > 0 && r.Lifetime == shmem.Shared:
		v.shown = true
		v.Why = fmt.Sprintf("%d unread messages; left (shmem rm %s removes it)", r.Unread, r.Name)
	case r.State == shmem.Idle:
		v.Why = "kept on purpose (Leak, shmem.Kept); shmem rm removes it"
	case r.State == shmem.Foreign:
		v.Why = "another program's file"
	case r.State == shmem.Copied, r.State == shmem.OtherVersion:
		v.Why = reason(r.Err)
	case r.State == shmem.Damaged:
		v.Why = "damaged: " + reason(r.Err) + "; shmem rm removes it"
	}
	return v
}

// judgeForeign says what gc --foreign would do with another program's file.
func judgeForeign(r row, users map[fileKey][]user, ps *procs) verdict {
	v := verdict{Name: r.Name, Memory: num(r.InUse), foreign: true, shown: true}
	if r.what != "" {
		v.Why = "a " + r.what + "; rm(1) removes it"
		return v
	}
	if !isOwn(r.Info) {
		v.Why = fmt.Sprintf("of user %s; run gc as that user", userName(r.UID))
		return v
	}
	fd, err := sys.Open(r.Path, false)
	if err != nil {
		v.Why = "it cannot be opened: " + reason(err)
		return v
	}
	defer fd.Close()
	switch used, err := fd.InUse(); {
	case err != nil:
		v.Why = "the kernel does not say whether a process uses it: " + err.Error()
	case used:
		v.Why = "in use by a process that this one cannot look into"
		if st, err := os.Stat(r.Path); err == nil {
			dev, ino, _ := fileIDOf(st)
			if u := users[fileKey{dev, ino}]; len(u) > 0 {
				v.Why = "in use: " + ps.userText(u)
			}
		}
	default:
		v.Taken = true
		v.Why = fmt.Sprintf("no process maps it or has it open; last changed %s ago",
			since(r.Created))
	}
	return v
}

// removeUnused unlinks a file that no process uses. The lease holds back those that would open it
// meanwhile. It reports false if a process uses the file, or if the path leads to another one.
func removeUnused(path string) (unlinked bool, err error) {
	fd, err := sys.Open(path, false)
	if err != nil {
		return false, err
	}
	defer fd.Close()
	st, err := fd.Stat()
	if err != nil || !st.Mode.IsRegular() {
		return false, err
	}
	if used, err := fd.InUse(); used || err != nil {
		return false, err
	}
	if there, err := sys.Lstat(path); err != nil || !there.Same(st) {
		return false, nil
	}
	err = sys.Unlink(path)
	return err == nil, err
}

// judgeUnfinished says what gc would do with a file of a temporary name, by the rules of
// shmem.Reclaim.
func judgeUnfinished(path, name string) verdict {
	v := verdict{Name: name, Why: "it cannot be read"}
	st, err := sys.Lstat(path)
	switch {
	case err != nil:
		return v
	case st.Mode.IsDir():
		v.Why = "a directory"
		return v
	case int(st.UID) != os.Geteuid():
		v.Why = fmt.Sprintf("of user %s; run gc as that user", userName(int(st.UID)))
		return v
	case !st.Mode.IsRegular(): // a Remove gave it that name
		v.Taken, v.Why = true, "its program died while removing it"
		return v
	}
	v.Memory = num(st.Blocks * 512)
	fd, err := sys.Open(path, true)
	if err != nil {
		return v
	}
	defer fd.Close()
	making, err1 := fd.Held(sys.GateByte, 1)
	attached, err2 := fd.Held(sys.SlotByte, format.MaxSlots)
	switch {
	case err1 != nil || err2 != nil || making:
		v.Why = "it is being made"
	case attached:
		v.Why = "a process died while removing it, and others are attached: " +
			"gc removes it when they have left"
	default:
		v.Taken, v.Why = true, whyUnfinished
	}
	return v
}
